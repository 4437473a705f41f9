//! The running kernel. This is the only module of the crate that reads the machine.

mod features;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use features::{Evidence, Features, Preemption, Support};

use crate::{Arch, BtfError, KernelTypes, Parts, Profile, ProfileError, ReadFormat};

const BTF: &str = "/sys/kernel/btf/vmlinux";
const SYMBOLS: &str = "/proc/kallsyms";
const TRACING: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
const DEBUG: &str = "/sys/kernel/debug";

/// The running kernel.
#[derive(Clone, Debug)]
pub struct HostKernel {
    /// Its profile.
    pub profile: Profile,
    /// Features for attaching programs.
    pub features: Features,
    /// The unreadable lists, with the consequence. Each is a sentence.
    pub gaps: Vec<Gap>,
}

/// The reason why the running kernel could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The kernel was built without type information.
    #[error(
        "the kernel {release} has no type information ({BTF} does not exist), so no function can be attached to; it \
         must be built with CONFIG_DEBUG_INFO_BTF=y, as in the major distributions"
    )]
    NoBtf {
        /// `uname -r`.
        release: String,
    },
    /// The type information could not be read.
    #[error("cannot read {BTF}: {0}; most machines allow every user to read it; in a container, mount /sys")]
    Unreadable(#[source] io::Error),
    /// The machine is not supported.
    #[error("unsupported machine {0}: expected amd64 (x86_64) or arm64 (aarch64)")]
    Machine(String),
    /// The type information is invalid.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The type information is invalid.
    #[error("cannot read {BTF}: {0}")]
    Btf(#[from] BtfError),
}

/// A list of the kernel that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The list.
    pub list: List,
    /// Its path.
    pub path: PathBuf,
    /// The error.
    pub reason: io::ErrorKind,
}

/// The kernel's lists of functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `/proc/kallsyms`: every symbol.
    Symbols,
    /// `available_filter_functions`: every function that can be probed.
    Attachable,
    /// `kprobes/blacklist`: functions in which a probe would be fatal.
    Blacklist,
    /// `events/syscalls`: parameters of system calls.
    Syscalls,
    /// `available_events`: every tracepoint.
    Tracepoints,
}

/// The amount of data to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The data for attaching programs: types, and which functions can be probed. Symbols are not read, because the
    /// kernel takes longer to write them than everything else takes. So functions without types that cannot be probed
    /// count as missing.
    Attach,
    /// The data of a saved profile.
    Everything,
}

/// Reads everything about the running kernel.
pub fn host() -> Result<HostKernel, HostError> {
    host_to(Depth::Everything)
}

/// Reads the running kernel to a depth. Profiles of different depths have different hashes.
pub fn host_to(depth: Depth) -> Result<HostKernel, HostError> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let version = uname.version().to_string_lossy().into_owned();
    let machine = uname.machine().to_string_lossy();
    let arch = Arch::from_machine(&machine).ok_or_else(|| HostError::Machine(machine.into_owned()))?;
    let btf = fs::read(BTF).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => HostError::NoBtf { release: release.clone() },
        _ => HostError::Unreadable(error),
    })?;
    let types = KernelTypes::new(btf)?;
    let tracing = tracing_directory();
    let mut gaps = Vec::new();
    let attachable = note(&mut gaps, List::Attachable, &tracing.join("available_filter_functions"), read);
    let debug = Path::new(DEBUG);
    let blacklist = note(&mut gaps, List::Blacklist, &debug.join("kprobes/blacklist"), read);
    let everything = depth == Depth::Everything;
    let symbols = everything.then(|| note(&mut gaps, List::Symbols, Path::new(SYMBOLS), read)).flatten();
    let syscalls = everything
        .then(|| note(&mut gaps, List::Syscalls, &tracing.join("events/syscalls"), formats))
        .flatten();
    let events = note(&mut gaps, List::Tracepoints, &tracing.join("available_events"), read);
    let directory = tracing.join("events");
    // Read when they are asked for: there are two thousand.
    let format: ReadFormat = Arc::new(move |name| read(&directory.join(name).join("format")).ok());
    let profile = Profile::from_types(
        types,
        &Parts {
            version: &version,
            symbols: symbols.as_deref(),
            attachable: attachable.as_deref(),
            blacklist: blacklist.as_deref(),
            error_injection: error_injection(debug).as_deref(),
            syscalls: syscalls.as_deref(),
            events: events.as_deref(),
            format: Some(&format),
            ..Parts::new(&release, arch, &[])
        },
    )?;
    let features = features(&profile, &tracing, symbols.is_some());
    Ok(HostKernel { profile, features, gaps })
}

/// The first mount point of the tracing file system, or the usual one.
fn tracing_directory() -> PathBuf {
    let mounted = |path: &&str| Path::new(path).join("available_events").exists();
    TRACING.iter().find(|path| mounted(path)).unwrap_or(&TRACING[0]).into()
}

fn note(
    gaps: &mut Vec<Gap>,
    list: List,
    path: &Path,
    read: impl FnOnce(&Path) -> io::Result<String>,
) -> Option<String> {
    read(path).map_err(|error| gaps.push(Gap { list, path: path.to_owned(), reason: error.kind() })).ok()
}

fn read(path: &Path) -> io::Result<String> {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The `format` files of the events `sys_enter_*`, in the order of their names.
fn formats(path: &Path) -> io::Result<String> {
    let mut events = Vec::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("sys_enter_")) {
            events.push(name);
        }
    }
    events.sort_unstable();
    let mut text = String::new();
    for event in events {
        text.push_str(&read(&path.join(event).join("format"))?);
    }
    Ok(text)
}

/// The list of functions whose result may be replaced. It is empty if debugfs is readable and has no list.
fn error_injection(debug: &Path) -> Option<String> {
    read(&debug.join("error_injection/list"))
        .ok()
        .or_else(|| debug.join("kprobes").is_dir().then(String::new))
}

fn features(profile: &Profile, tracing: &Path, symbols_known: bool) -> Features {
    let config = config(&profile.release);
    let device = Path::new("/sys/bus/event_source/devices");
    let kprobe_events = if device.join("kprobe").exists() || tracing.join("kprobe_events").exists() {
        Some(true)
    } else {
        // Missing files mean something only if the directory itself is readable.
        device.join("software").exists().then_some(false)
    };
    // Without symbols, functions that ftrace cannot reach (its own) are unknown on some kernels.
    let has = |name: &str| (symbols_known || profile.has_function(name)).then(|| profile.has_function(name));
    let text = |path: &str| fs::read_to_string(path).ok();
    let (jit, lsm) = (text("/proc/sys/net/core/bpf_jit_enable"), lsm_list());
    let preempt = text("/sys/kernel/debug/sched/preempt");
    Features::new(&Evidence {
        config: config.as_deref(),
        kprobe_events,
        direct_calls: has("register_ftrace_direct"),
        // This function has types on every kernel that has it, so symbols are not required.
        fprobe_by_ftrace: Some(profile.has_function("fprobe_ftrace_entry")),
        fprobe_handler: has("fprobe_handler"),
        override_helper: has("bpf_override_return"),
        jit: jit.as_deref(),
        lsm: lsm.as_deref(),
        preempt: preempt.as_deref(),
        version: &profile.version,
    })
}

/// The active LSMs. A container's `/sys` lacks the file system that has them, and the host's has it.
fn lsm_list() -> Option<String> {
    ["", "/proc/1/root"]
        .iter()
        .find_map(|root| fs::read_to_string(format!("{root}/sys/kernel/security/lsm")).ok())
}

/// The kernel's configuration, from the kernel itself or from the distribution's file.
fn config(release: &str) -> Option<String> {
    let from_kernel = || {
        let mut text = String::new();
        let file = fs::File::open("/proc/config.gz").ok()?;
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).ok()?;
        Some(text)
    };
    let installed = [format!("/boot/config-{release}"), format!("/usr/lib/modules/{release}/config")];
    from_kernel().or_else(|| installed.iter().find_map(|path| fs::read_to_string(path).ok()))
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let consequence = match self.list {
            List::Symbols => "functions without type information are unknown",
            List::Attachable => "it is unknown which functions can be probed, so every one is tried",
            List::Blacklist => "functions in which the kernel forbids probes are not known in advance",
            List::Syscalls => "the parameters of most system calls are unknown",
            List::Tracepoints => "policies on tracepoints cannot run",
        };
        let path = self.path.display();
        match (self.reason, self.list) {
            (io::ErrorKind::PermissionDenied, _) => {
                write!(
                    f,
                    "no permission to read {path} (requires root or CAP_DAC_READ_SEARCH): {consequence}"
                )
            }
            (io::ErrorKind::NotFound, List::Attachable | List::Syscalls | List::Tracepoints) => write!(
                f,
                "{path} does not exist (is the tracing file system mounted? `mount -t tracefs tracefs {}`): \
                 {consequence}",
                TRACING[0]
            ),
            (io::ErrorKind::NotFound, List::Blacklist) => write!(
                f,
                "{path} does not exist (is the debug file system mounted? `mount -t debugfs debugfs {DEBUG}`): \
                 {consequence}"
            ),
            (io::ErrorKind::NotFound, List::Symbols) => {
                write!(
                    f,
                    "{path} does not exist (is /proc mounted, and the kernel built with CONFIG_KALLSYMS?): \
                     {consequence}"
                )
            }
            (reason, _) => write!(f, "cannot read {path} ({reason}): {consequence}"),
        }
    }
}
