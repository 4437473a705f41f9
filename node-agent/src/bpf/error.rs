//! Why something could not be loaded, in sentences for people.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why the BPF programs, or a part of it, could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The agent was built without the BPF programs.
    #[error("this agent was built without its BPF programs; build it with `cargo xtask build`")]
    NotBuilt,
    /// There is no bpf file system, and none could be mounted.
    #[error("{} is not on a BPF file system, and none could be mounted there ({source}); run `mount -t bpf bpf \
             /sys/fs/bpf`, or give the agent CAP_SYS_ADMIN", path.display())]
    NoBpffs {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The folder for the maps can't be used.
    #[error("cannot use {} for the maps: {source}", path.display())]
    Pins {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program, map or link can't be given a name.
    #[error("cannot pin {}: {}", path.display(), chain(source))]
    Pin {
        /// The name.
        path: PathBuf,
        /// Why not.
        source: aya::pin::PinError,
    },
    /// A hook has no link that can be kept or taken over.
    #[error("cannot keep the hook of `{symbol}`: {}", chain(source))]
    Link {
        /// The kernel function.
        symbol: String,
        /// Why not.
        source: aya::programs::links::LinkError,
    },
    /// Another agent has it.
    #[error("{} is in use by another agent; stop that agent first", .0.display())]
    Locked(PathBuf),
    /// The kernel's type information can't be read.
    #[error("cannot read the kernel's BTF: {0}; the kernel needs CONFIG_DEBUG_INFO_BTF")]
    Btf(#[source] aya::BtfError),
    /// An object can't be loaded.
    #[error("cannot load the {object} programs into the kernel: {}", chain(source))]
    Object {
        /// Which one.
        object: &'static str,
        /// Why not.
        source: aya::EbpfError,
    },
    /// A program can't be loaded or attached.
    #[error("the kernel rejects the program `{program}` for `{target}`: {}", chain(source))]
    Program {
        /// The program.
        program: &'static str,
        /// The kernel function.
        target: String,
        /// Why not, with the end of the verifier's log.
        source: aya::programs::ProgramError,
    },
    /// A kretprobe doesn't see arguments.
    #[error(
        "`{0}` can be probed on return only with a kretprobe, which does not see the arguments; filter only on the \
         return value, or use a kernel with fexit"
    )]
    ArgumentsOnReturn(String),
    /// A map can't be used.
    #[error("cannot use the map {map}: {}", chain(source))]
    Map {
        /// The map.
        map: &'static str,
        /// Why not.
        source: aya::maps::MapError,
    },
    /// A part is missing from the object.
    #[error("the BPF programs have no `{0}`; the agent and its BPF programs are from different builds")]
    Missing(&'static str),
    /// What is remembered beyond the agent's end can't be written or read.
    #[error("cannot write or read the state for the next agent: {0}")]
    SavedState(#[source] serde_json::Error),
    /// The processes that run already can't be read.
    #[error("cannot read the running processes by a BPF iterator: {0}")]
    Processes(#[source] io::Error),
    /// The cgroups that exist can't be read.
    #[error("cannot read the cgroups, so the processes of pods are unknown: {0}")]
    Cgroups(#[source] io::Error),
    /// The point is in a program, not in the kernel.
    #[error("`{0}` is not in the kernel; this agent does not attach to programs")]
    NotInKernel(String),
    /// Programs on LSM hooks are never called on this node.
    #[error("the LSM hook `{hook}` would never fire on this node: {reason}")]
    NoLsm {
        /// The hook.
        hook: String,
        /// Why not.
        reason: &'static str,
    },
    /// The kernel has no uprobes.
    #[error("this kernel has no uprobes ({0}): it is built without CONFIG_UPROBE_EVENTS")]
    NoUprobes(#[source] io::Error),
    /// A function that should be attached isn't.
    #[error("`{0}` is not attached")]
    NotAttached(String),
    /// The kernel's symbols can't be read.
    #[error("cannot read the addresses of functions in /proc/kallsyms: {0}")]
    Symbols(#[source] io::Error),
    /// A function of a list has no address.
    #[error(
        "/proc/kallsyms has no address of `{0}`, so the functions of its list cannot share a program; give the agent \
         CAP_SYSLOG, and set kernel.kptr_restrict to 0 or 1"
    )]
    NoAddress(String),
    /// No more sets can be followed.
    #[error("policies follow the children of more than 62 different program sets")]
    FollowSets,
    /// No random numbers.
    #[error("the kernel provides no random numbers: {0}")]
    Random(#[source] io::Error),
}

/// An error and its causes in one sentence; a verifier's log is cut to its end, which has the reason.
fn chain(error: &dyn std::error::Error) -> String {
    const KEPT: usize = 600;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    if text.chars().count() > 2 * KEPT {
        let start: String = text.chars().take(KEPT).collect();
        let end: String = text.chars().skip(text.chars().count() - KEPT).collect();
        return format!("{start} … {end}");
    }
    text
}
