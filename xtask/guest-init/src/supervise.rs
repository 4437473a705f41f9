//! Runs the command, passes its output on as it comes, and reaps whatever it leaves behind, as a first process must.

use std::{
    fs::File,
    io::{self, Read as _},
    os::{fd::AsFd, unix::process::ExitStatusExt as _},
    process::{Child, Command, ExitStatus, Stdio},
};

use gatewatch_guest_init::{Kind, MAX_PAYLOAD, Task};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    io::Errno,
    process::{Pid, PidfdFlags, WaitOptions, pidfd_open, wait},
};

use crate::send;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Exit codes as shells give them: the program could not be run, or was not found.
const CANNOT_RUN: i32 = 126;
const NOT_FOUND: i32 = 127;

/// One of the command's two streams.
struct Stream<R> {
    pipe: Option<R>,
    kind: Kind,
}

impl<R: AsFd + io::Read> Stream<R> {
    fn new(pipe: Option<R>, kind: Kind) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            let flags = rustix::fs::fcntl_getfl(pipe)?;
            rustix::fs::fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?;
        }
        Ok(Self { pipe, kind })
    }

    /// Sends on what can be read without waiting. Forgets the pipe at its end.
    ///
    /// Reads at most as much as a pipe can hold (`/proc/sys/fs/pipe-max-size`: 1 MiB), so that a process in the
    /// background that never stops writing cannot keep the VM from ending.
    fn pass_on(&mut self, channel: &mut File) -> io::Result<()> {
        const READS: usize = (1 << 20) / MAX_PAYLOAD;
        let mut buffer = vec![0; MAX_PAYLOAD];
        for _ in 0..=READS {
            let Some(pipe) = &mut self.pipe else { break };
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(length) => send(channel, self.kind, &buffer[..length])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Runs the task's command to its end. The answer is its exit code, or 128 plus the signal that ended it.
///
/// Output of processes that it leaves in the background counts until the command itself has ended.
pub(crate) fn run(task: &Task, channel: &mut File) -> io::Result<i32> {
    let mut child = match start(task) {
        Ok(child) => child,
        Err(error) => {
            let program = task.argv.first().map_or("", String::as_str);
            send(channel, Kind::Stderr, format!("{program}: {error}\n").as_bytes())?;
            let missing = error.kind() == io::ErrorKind::NotFound;
            return Ok(if missing { NOT_FOUND } else { CANNOT_RUN });
        }
    };
    let pid = Pid::from_child(&child);
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    let mut stdout = Stream::new(child.stdout.take(), Kind::Stdout)?;
    let mut stderr = Stream::new(child.stderr.take(), Kind::Stderr)?;
    loop {
        let mut waiting = vec![PollFd::new(&ended, PollFlags::IN)];
        waiting.extend(stdout.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        waiting.extend(stderr.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        // The end of an orphan sends a signal that nothing here waits for, so check once a second.
        match poll(&mut waiting, Some(&Timespec { tv_sec: 1, tv_nsec: 0 })) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Reaped first and read afterwards: what the command wrote is then all in the pipes.
        let status = reap(pid)?;
        stdout.pass_on(channel)?;
        stderr.pass_on(channel)?;
        if let Some(status) = status {
            return Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
        }
    }
}

fn start(task: &Task) -> io::Result<Child> {
    let (program, arguments) = task.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs([
            ("PATH", PATH),
            ("HOME", "/root"),
            ("USER", "root"),
            ("LOGNAME", "root"),
            ("SHELL", "/bin/sh"),
        ])
        .envs([("LANG", "C.UTF-8"), ("TERM", "dumb"), ("RUST_BACKTRACE", "1")])
        .envs(task.env.iter().map(|(name, value)| (name, value)))
        .current_dir("/root")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Collects every process that has ended; the status of `wanted` when it is among them.
fn reap(wanted: Pid) -> io::Result<Option<ExitStatus>> {
    let mut found = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == wanted => found = Some(ExitStatus::from_raw(status.as_raw())),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(found),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sends `/out` as a tar archive.
pub(crate) fn send_out_folder(channel: &mut File) -> io::Result<()> {
    let mut child = Command::new("tar")
        .args(["-C", "/out", "-cf", "-", "."])
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut buffer = vec![0; MAX_PAYLOAD];
    if let Some(mut pipe) = child.stdout.take() {
        loop {
            match pipe.read(&mut buffer)? {
                0 => break,
                length => send(channel, Kind::Archive, &buffer[..length])?,
            }
        }
    }
    child.wait()?;
    Ok(())
}
