//! Whether this process may do what the agent does, checked before anything is loaded.

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CapabilitySet, capabilities},
};

/// Capabilities that are missing.
#[derive(Debug, thiserror::Error)]
#[error(
    "no permission to load BPF programs: missing {}; run as root, or add these capabilities",
    .0.join(" and ")
)]
pub struct Missing(Vec<&'static str>);

/// Says which capabilities are missing. `CAP_SYS_ADMIN` stands for the first two: before Linux 5.8 there was nothing else
/// (include/linux/capability.h, `bpf_capable` and `perfmon_capable`).
pub fn check() -> Result<(), Missing> {
    missing(effective(), locks_memory()).map_or(Ok(()), Err)
}

/// What this process can't do in full, a sentence each. Nothing of it keeps all policies from being run.
pub fn lacking() -> Vec<&'static str> {
    let effective = effective();
    let mut all = reservations(effective);
    if paranoid() && !effective.contains(CapabilitySet::SYS_ADMIN) {
        all.push(
            "kernel.perf_event_paranoid is 3 or more, so Debian's kernels allow kprobes only with CAP_SYS_ADMIN: set \
             it to 2, or add that capability",
        );
    }
    all
}

/// Debian has a value of this setting that keeps everybody without a capability away from `perf_event_open`; its
/// kernels don't take `CAP_PERFMON` for that (measured on 5.10 and 7.3).
fn paranoid() -> bool {
    let text = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    text.is_ok_and(|text| text.trim().parse::<i32>().is_ok_and(|value| value > 2))
}

/// Lets this process have as many open files as it may: programs, maps and links are some, a few dozen for each kernel
/// function that is hooked, and 1,024 is a usual soft limit. Failure shows when they run out.
pub fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Where it can't be known, the kernel will say it.
fn effective() -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::all(), |sets| sets.effective)
}

/// Whether maps are memory that is locked, of which this process may have only so much: before Linux 5.11, which counts it
/// by cgroup instead (kernel/bpf/syscall.c, `bpf_charge_memlock` until then).
fn locks_memory() -> bool {
    before_5_11() && getrlimit(Resource::Memlock).maximum.is_some()
}

fn before_5_11() -> bool {
    let release = rustix::system::uname();
    gatewatch_kernel::version(release.release().to_str().unwrap_or_default())
        .is_some_and(|version| version < (5, 11))
}

fn missing(effective: CapabilitySet, locks_memory: bool) -> Option<Missing> {
    let mut missing = Vec::new();
    if !effective.contains(CapabilitySet::SYS_ADMIN) {
        let needed = [(CapabilitySet::BPF, "CAP_BPF"), (CapabilitySet::PERFMON, "CAP_PERFMON")];
        missing.extend(needed.into_iter().filter(|(one, _)| !effective.contains(*one)).map(|(_, name)| name));
    }
    if locks_memory && !effective.contains(CapabilitySet::SYS_RESOURCE) {
        missing.push("CAP_SYS_RESOURCE");
    }
    (!missing.is_empty()).then_some(Missing(missing))
}

fn reservations(effective: CapabilitySet) -> Vec<&'static str> {
    let all = [
        (
            CapabilitySet::SYS_PTRACE,
            "missing CAP_SYS_PTRACE: the namespaces of the host are unknown. Policies with `host_ns` are rejected, and events of \
             the container runtime seem to be those of programs of the pod",
        ),
        (
            CapabilitySet::SYS_RESOURCE,
            "missing CAP_SYS_RESOURCE: the process cannot exceed its limit of open files (`ulimit -n`), and each \
             hooked kernel function needs a few dozen",
        ),
    ];
    all.into_iter().filter(|(one, _)| !effective.contains(*one)).map(|(_, sentence)| sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::{CapabilitySet, missing, reservations};

    #[test]
    fn either_both_or_the_old_one() {
        assert!(missing(CapabilitySet::SYS_ADMIN, false).is_none());
        assert!(missing(CapabilitySet::BPF | CapabilitySet::PERFMON, false).is_none());
        let text = missing(CapabilitySet::BPF, false).unwrap().to_string();
        assert!(text.contains("CAP_PERFMON") && !text.contains("CAP_BPF"), "{text}");
        let text = missing(CapabilitySet::empty(), false).unwrap().to_string();
        assert!(text.contains("missing CAP_BPF and CAP_PERFMON") && !text.contains("RESOURCE"), "{text}");
    }

    #[test]
    fn locked_memory_needs_a_resource() {
        let text = missing(CapabilitySet::SYS_ADMIN, true).unwrap().to_string();
        assert!(text.contains("missing CAP_SYS_RESOURCE;"), "{text}");
        assert!(missing(CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_RESOURCE, true).is_none());
    }

    #[test]
    fn what_is_lacking_is_said() {
        assert!(reservations(CapabilitySet::all()).is_empty());
        let said = reservations(CapabilitySet::all() - CapabilitySet::SYS_PTRACE);
        assert!(said.len() == 1 && said[0].contains("CAP_SYS_PTRACE"), "{said:?}");
    }
}
