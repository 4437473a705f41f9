//! One boot of one VM: starts qemu, follows its console and its channel, and ends it.

use std::{
    io::{self, Read},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use gatewatch_guest_init::{Decoder, Frame, Kind};
use tempfile::TempDir;

use super::{BROKEN, Failure, Output, Sink, Stream, TIMED_OUT, Vm, initramfs};
use crate::{image::KernelFiles, setup::qemu::Qemu};

/// A machine under heavy load boots in a third of this.
const BOOT_LIMIT: Duration = Duration::from_mins(1);

/// How long a kernel that crashes may continue to report why.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The kernel's command line. A fault of its own, or no memory left, is its end, and not only that of the process that it
/// happens to be working for, or to choose: who waits for that process learns why. A processor that stands still for twenty
/// seconds is a breakdown on a real machine; an emulated one stands still while its host has other things to do, so it is
/// given a minute.
pub(crate) const COMMAND_LINE: &str =
    "console=ttyS0 quiet panic=-1 oops=panic sysctl.vm.panic_on_oom=1 watchdog_thresh=30";

/// All that the emulator can do, but for page tables of five levels: walking them takes a twelfth of a suite's time, and a
/// program sees nothing of them.
const PROCESSOR: &str = "max,la57=off";

/// What the console says when nothing good will come any more.
const BREAKDOWNS: &[&str] = &["Kernel panic - not syncing", "BUG: soft lockup", "BUG: hard lockup"];

/// How much of the console is kept.
const CONSOLE_LIMIT: usize = 1 << 16;

/// What the threads that read from qemu report.
#[derive(Debug)]
enum Event {
    Console(Vec<u8>),
    Channel(Vec<u8>),
    /// One of the two has ended.
    End,
}

/// A running qemu. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Machine {
    child: Child,
    began: Instant,
    events: Receiver<Event>,
    socket: PathBuf,
    /// Holds socket and initramfs; given up once qemu has read them.
    folder: Option<TempDir>,
}

impl Machine {
    /// Starts qemu with the initramfs in `folder`.
    pub(super) fn start(vm: &Vm, emulator: &Qemu, kernel: &KernelFiles, folder: TempDir) -> Result<Self> {
        let socket = folder.path().join("channel");
        let listener =
            UnixListener::bind(&socket).with_context(|| format!("cannot create {}", socket.display()))?;
        // qemu itself and the guest's first serial port write to one pipe: together they are the console.
        let (console, writer) = io::pipe().context("cannot create a pipe")?;
        let errors = writer.try_clone().context("cannot create a pipe")?;
        // setpriv sees to it that qemu does not outlive this process, however it ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).args(emulator.argv());
        command.args(["-accel", "tcg", "-cpu", PROCESSOR, "-nodefaults", "-no-reboot", "-display", "none"]);
        command.args(["-smp", &vm.cpus.to_string(), "-m", &vm.memory.to_string()]);
        if vm.icount {
            command.args(["-icount", "shift=0,sleep=off"]);
        }
        if let Some((port, guest_port)) = vm.forward {
            let forward = format!("hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:{guest_port}");
            command.args(["-netdev", &format!("user,id=network,restrict=on,{forward}")]);
            command.args(["-device", "virtio-net-pci,netdev=network,romfile="]);
        }
        command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(folder.path().join(initramfs::FILE));
        command.args(["-append", COMMAND_LINE, "-serial", "stdio", "-serial"]);
        command.arg(format!("unix:{}", socket.display()));
        let child = command.stdin(Stdio::null()).stdout(writer).stderr(errors).spawn();
        let child = child.context("cannot run setpriv and qemu-system-x86_64")?;
        // Else this process's own ends keep the pipe open when qemu has ended.
        drop(command);
        let (sender, events) = mpsc::channel();
        let other = sender.clone();
        thread::spawn(move || read_all(console, &sender, Event::Console));
        thread::spawn(move || match listener.accept() {
            Ok((channel, _)) => read_all(channel, &other, Event::Channel),
            Err(_) => drop(other.send(Event::End)),
        });
        Ok(Self { child, began: Instant::now(), events, socket, folder: Some(folder) })
    }

    /// Follows the VM to its end.
    pub(super) fn watch(mut self, timeout: Duration, sink: &mut Sink<'_>) -> Result<Output> {
        let mut output = Output { status: BROKEN, ..Output::default() };
        let (mut decoder, mut console) = (Decoder::default(), Vec::new());
        let mut deadline = self.began + BOOT_LIMIT;
        let mut streams_open = 2;
        let what = loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Console(bytes)) => {
                    if note(&mut console, &bytes) {
                        deadline = deadline.min(Instant::now() + LAST_WORDS);
                    }
                }
                Ok(Event::Channel(bytes)) => {
                    decoder.feed(&bytes);
                    let ended = self.take_frames(&mut decoder, &mut output, sink)?;
                    if ended {
                        output.total = self.began.elapsed();
                        return Ok(output);
                    }
                    if let (Some(boot), true) = (output.boot, self.folder.is_some()) {
                        // qemu has long read its files; a VM that runs for an hour needs no copy of them in /tmp.
                        self.folder = None;
                        deadline = self.began + boot + timeout;
                    }
                }
                Ok(Event::End) => {
                    streams_open -= 1;
                    // qemu has ended; what it wrote to its other stream before is read first.
                    if streams_open == 1 {
                        drop(UnixStream::connect(&self.socket));
                        deadline = deadline.min(Instant::now() + LAST_WORDS);
                    } else {
                        break "the VM exited before the command".to_owned();
                    }
                }
                Err(RecvTimeoutError::Timeout) if is_broken(&console) => {
                    break "the VM's kernel crashed".to_owned();
                }
                Err(RecvTimeoutError::Timeout) if streams_open < 2 => {
                    break "the VM exited before the command".to_owned();
                }
                Err(RecvTimeoutError::Timeout) if output.boot.is_some() => {
                    output.status = TIMED_OUT;
                    break format!(
                        "the command did not finish within {} s; the VM was stopped",
                        timeout.as_secs()
                    );
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    break format!("the VM did not boot within {} s", BOOT_LIMIT.as_secs());
                }
            }
        };
        let what = if is_broken(&console) { "the VM's kernel crashed".to_owned() } else { what };
        output.total = self.began.elapsed();
        output.failure = Some(Failure { what, console: readable(&console) });
        Ok(output)
    }

    /// Takes every whole frame. The answer is whether the command has ended.
    fn take_frames(&self, decoder: &mut Decoder, output: &mut Output, sink: &mut Sink<'_>) -> Result<bool> {
        while let Some(Frame { kind, payload }) = decoder.next_frame()? {
            match kind {
                Kind::Ready => output.boot = Some(self.began.elapsed()),
                Kind::Stdout => {
                    sink(Stream::Stdout, &payload).context("cannot pass on the command's output")?;
                }
                Kind::Stderr => {
                    sink(Stream::Stderr, &payload).context("cannot pass on the command's output")?;
                }
                Kind::Archive => output.archive.extend(payload),
                Kind::Exit => {
                    output.status =
                        <[u8; 4]>::try_from(payload.as_slice()).map_or(BROKEN, i32::from_le_bytes);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Neither fails but for a qemu that has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_all(mut from: impl Read, events: &Sender<Event>, event: impl Fn(Vec<u8>) -> Event) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if events.send(event(buffer[..length].to_vec())).is_err() {
            return;
        }
    }
    let _ = events.send(Event::End);
}

/// Adds to the console, forgetting its beginning when it grows long. Whether the kernel just said that it broke down.
fn note(console: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let before = is_broken(console);
    console.extend_from_slice(bytes);
    if console.len() > CONSOLE_LIMIT {
        console.drain(..console.len() - CONSOLE_LIMIT / 2);
    }
    !before && is_broken(console)
}

fn is_broken(console: &[u8]) -> bool {
    let text = String::from_utf8_lossy(console);
    BREAKDOWNS.iter().any(|words| text.contains(words))
}

/// The console without the control sequences that the firmware writes, and without carriage returns.
fn readable(console: &[u8]) -> String {
    let text = String::from_utf8_lossy(console);
    let mut letters = text.chars();
    let mut plain = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            // A sequence runs to its first letter: ESC [ 2 J, ESC c.
            '\u{1b}' => drop(letters.by_ref().find(char::is_ascii_alphabetic)),
            '\n' | '\t' => plain.push(letter),
            letter if letter.is_control() => {}
            letter => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breakdown_is_noticed_once_even_in_pieces() {
        let mut console = Vec::new();
        assert!(!note(&mut console, b"[ 1.0] Kernel pan"));
        assert!(note(&mut console, b"ic - not syncing: Attempted to kill init!"));
        assert!(!note(&mut console, b"\n[ 1.0] CPU: 0"));
        assert!(is_broken(&console));
    }

    #[test]
    fn the_console_is_bounded() {
        let mut console = Vec::new();
        for _ in 0..10 {
            note(&mut console, &b"x".repeat(CONSOLE_LIMIT / 3));
        }
        assert!(console.len() <= CONSOLE_LIMIT);
    }

    #[test]
    fn the_console_is_shown_without_control_sequences() {
        assert_eq!(readable(b"\x1bc\x1b[?7l\x1b[2JSeaBIOS\r\n\tok"), "SeaBIOS\n\tok");
    }
}
