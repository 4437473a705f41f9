//! Whether this process may do what the agent does, checked before anything is loaded.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

/// Capabilities that are missing.
#[derive(Debug, thiserror::Error)]
#[error(
    "this process may not load programs into the kernel: it has no {}; run it as root, or give it these capabilities",
    .0.join(" and no ")
)]
pub struct Missing(Vec<&'static str>);

/// Says which capabilities are missing. `CAP_SYS_ADMIN` stands for both that are needed: before Linux 5.8 there was
/// nothing else (include/linux/capability.h, `bpf_capable` and `perfmon_capable`).
pub fn check() -> Result<(), Missing> {
    // Where it can't be known, the kernel will say it.
    let effective = capabilities(None).map_or(CapabilitySet::all(), |sets| sets.effective);
    missing(effective).map_or(Ok(()), Err)
}

/// Lets this process have as many open files as it may: programs, maps and links are some, a few dozen for each kernel
/// function that is hooked, and 1,024 is a usual soft limit. Failure shows when they run out.
pub fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

fn missing(effective: CapabilitySet) -> Option<Missing> {
    if effective.contains(CapabilitySet::SYS_ADMIN) {
        return None;
    }
    let needed = [(CapabilitySet::BPF, "CAP_BPF"), (CapabilitySet::PERFMON, "CAP_PERFMON")];
    let missing: Vec<&str> =
        needed.into_iter().filter(|(one, _)| !effective.contains(*one)).map(|(_, name)| name).collect();
    (!missing.is_empty()).then_some(Missing(missing))
}

#[cfg(test)]
mod tests {
    use super::{CapabilitySet, missing};

    #[test]
    fn either_both_or_the_old_one() {
        assert!(missing(CapabilitySet::SYS_ADMIN).is_none());
        assert!(missing(CapabilitySet::BPF | CapabilitySet::PERFMON).is_none());
        let text = missing(CapabilitySet::BPF).unwrap().to_string();
        assert!(text.contains("CAP_PERFMON") && !text.contains("CAP_BPF"), "{text}");
        assert!(
            missing(CapabilitySet::empty()).unwrap().to_string().contains("no CAP_BPF and no CAP_PERFMON")
        );
    }
}
