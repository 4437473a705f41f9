//! VMs that run one command on a real kernel: the same way in for a developer, for the tests, the demo and the benches.

pub(crate) mod command;
mod initramfs;
mod qemu;

pub(crate) use qemu::COMMAND_LINE;

use std::{fmt, io, path::PathBuf, time::Duration};

use anyhow::Result;
use gatewatch_guest_init::Task;

use crate::{
    build::Built,
    cache::Cache,
    image::{self, Kernel, Userland},
    progress::say,
    setup::qemu::Qemu,
};

/// The exit code of a VM whose command did not end in time, as timeout(1) has it.
pub(crate) const TIMED_OUT: i32 = 124;
/// The exit code of a VM that did not boot, or that broke down.
pub(crate) const BROKEN: i32 = 125;

/// A VM to be booted, with the settings of `cargo xtask vm`.
#[derive(Debug, Clone)]
pub(crate) struct Vm {
    pub(crate) kernel: Kernel,
    pub(crate) cpus: u32,
    /// In MiB.
    pub(crate) memory: u32,
    /// Whether the guest's clock counts its instructions, one to the nanosecond. For one CPU only.
    pub(crate) icount: bool,
    /// How long the command may run; booting is not counted.
    pub(crate) timeout: Duration,
    /// Variables set for the command.
    pub(crate) env: Vec<(String, String)>,
    /// A folder that is copied to /share.
    pub(crate) share: Option<PathBuf>,
    /// A folder that what the command leaves in /out is copied to.
    pub(crate) out: Option<PathBuf>,
    /// A port of this machine's loopback interface that is forwarded to one of the guest's, once the guest has its network up:
    /// see [`NETWORK`].
    pub(crate) forward: Option<(u16, u16)>,
}

/// What a guest's shell runs to be reached through [`Vm::forward`]. It reaches nothing itself.
pub(crate) const NETWORK: &str = "for module in failover net_failover virtio_net; do \
    file=$(find /usr/lib/modules -name $module.ko); [ -z \"$file\" ] || insmod $file; done; \
    ip address add 10.0.2.15/24 dev eth0 && ip link set eth0 up";

impl Vm {
    /// Two CPUs, 2 GiB, five minutes.
    pub(crate) fn new(kernel: Kernel) -> Self {
        let timeout = Duration::from_mins(5);
        Self {
            kernel,
            cpus: 2,
            // The kernel frees memory once all processors have moved on, and each may wait for its host: at a hundred thousand
            // calls a second that has come to a gibibyte.
            memory: 2048,
            icount: false,
            timeout,
            env: Vec::new(),
            share: None,
            out: None,
            forward: None,
        }
    }

    /// Boots the VM, runs `argv` in it and passes its output to `sink` as it comes. A VM that does not boot is tried
    /// once more.
    pub(crate) fn run(
        &self,
        argv: &[&str],
        built: &Built,
        cache: &Cache,
        sink: &mut Sink<'_>,
    ) -> Result<Output> {
        let userland = Userland::ready(cache)?;
        let kernel = image::kernel_files(self.kernel, cache)?;
        let emulator = Qemu::ready(self.cpus, cache)?;
        let task = Task {
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            env: self.env.clone(),
            collect: self.out.is_some(),
        };
        let initramfs = initramfs::Initramfs {
            userland: &userland,
            kernel: &kernel,
            built,
            share: self.share.as_deref(),
        };
        let mut output = self.attempt(&emulator, &initramfs, &kernel, &task, sink)?;
        if output.boot.is_none()
            && let Some(failure) = &output.failure
        {
            say(&format!("{failure}"));
            say("retrying once");
            output = self.attempt(&emulator, &initramfs, &kernel, &task, sink)?;
        }
        if let Some(folder) = &self.out {
            initramfs::unpack_out(&output.archive, folder)?;
        }
        Ok(output)
    }

    fn attempt(
        &self,
        emulator: &Qemu,
        initramfs: &initramfs::Initramfs<'_>,
        kernel: &image::KernelFiles,
        task: &Task,
        sink: &mut Sink<'_>,
    ) -> Result<Output> {
        let folder = initramfs.write(task)?;
        qemu::Machine::start(self, emulator, kernel, folder)?.watch(self.timeout, sink)
    }
}

/// Which of its two streams the command wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Takes the command's output, piece by piece. An error ends the VM.
pub(crate) type Sink<'a> = dyn FnMut(Stream, &[u8]) -> io::Result<()> + 'a;

/// Passes the command's output through to this process's own streams.
pub(crate) fn pass_through(stream: Stream, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    match stream {
        Stream::Stdout => {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        }
        Stream::Stderr => io::stderr().lock().write_all(bytes),
    }
}

/// How a VM ended.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// The command's exit code, [`TIMED_OUT`] or [`BROKEN`].
    pub(crate) status: i32,
    /// From the start of qemu to the start of the command; `None` when it never started.
    pub(crate) boot: Option<Duration>,
    /// From the start of qemu to its end.
    pub(crate) total: Duration,
    /// What went wrong with the VM itself. A command that fails is not one.
    pub(crate) failure: Option<Failure>,
    /// What was in /out, as a tar archive.
    archive: Vec<u8>,
}

/// A VM that hung, broke down or did not boot.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    console: String,
}

impl Failure {
    /// Whether the kernel ran into a breakpoint that was not there any more: what QEMU does to it now and then, see
    /// [`Qemu`].
    pub(crate) fn is_stale_breakpoint(&self) -> bool {
        self.console.contains("int3: 0000 [#")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, console } = self;
        if console.trim().is_empty() {
            write!(formatter, "{what}; its console is empty")
        } else {
            write!(formatter, "{what}. Its console:\n{}\n(end of console)", console.trim_end())
        }
    }
}
