//! The features of a kernel, from its configuration or, without that, from its files.

use std::{collections::BTreeSet, fmt};

/// Whether a kernel supports a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Supported.
    Yes,
    /// Not supported, with the required change.
    No(&'static str),
    /// Neither the kernel's configuration nor its files were readable.
    Unknown,
}

/// When the kernel preempts its own code for another task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemption {
    /// Never.
    None,
    /// At explicit preemption points.
    Voluntary,
    /// Almost everywhere.
    Full,
    /// As with full preemption for real-time tasks, at the next tick for others (Linux 6.13 and later).
    Lazy,
    /// Everywhere, in interrupt handlers too.
    RealTime,
    /// Selected at boot; the mode was not readable.
    Dynamic,
}

/// Features for attaching programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Programs on kprobes.
    pub kprobes: Support,
    /// Programs on fentry and fexit.
    pub fentry: Support,
    /// Programs on fprobe at a function's entry, where it comes there by ftrace alone (Linux 6.19 and later).
    pub fprobe: Support,
    /// One program on many functions by fprobe, without the function graph tracer (Linux 5.18 to 6.13, and 6.19 and later).
    pub fprobe_many: Support,
    /// Programs on LSM hooks.
    pub lsm: Support,
    /// Programs that replace a function's result.
    pub overrides: Support,
    /// The preemption mode; `None` if unknown.
    pub preemption: Option<Preemption>,
}

/// The inputs of [`Features::new`]. All of them may be missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// The kernel's configuration, in the format of `/boot/config-*`.
    pub config: Option<&'a str>,
    /// Whether perf has a kprobe device, or the tracing file system has `kprobe_events`.
    pub kprobe_events: Option<bool>,
    /// Whether the kernel has the function `register_ftrace_direct`, which fentry needs.
    pub direct_calls: Option<bool>,
    /// Whether the kernel has the function `fprobe_ftrace_entry`, which calls an fprobe for entries alone.
    pub fprobe_by_ftrace: Option<bool>,
    /// Whether the kernel has the function `fprobe_handler`, which called fprobes before Linux 6.14.
    pub fprobe_handler: Option<bool>,
    /// Whether the kernel has the function `bpf_override_return`, a helper for programs.
    pub override_helper: Option<bool>,
    /// `/proc/sys/net/core/bpf_jit_enable`.
    pub jit: Option<&'a str>,
    /// `/sys/kernel/security/lsm`.
    pub lsm: Option<&'a str>,
    /// `/sys/kernel/debug/sched/preempt`.
    pub preempt: Option<&'a str>,
    /// `uname -v`.
    pub version: &'a str,
}

impl Features {
    /// Derives the features.
    pub fn new(evidence: &Evidence<'_>) -> Self {
        let config = evidence.config.map(Config::parse);
        let kprobes = match (&config, evidence.kprobe_events) {
            (_, Some(true)) => Support::Yes,
            (Some(config), _) => config.needs(&[
                ("KPROBES", "the kernel is built without CONFIG_KPROBES"),
                ("KPROBE_EVENTS", "the kernel is built without CONFIG_KPROBE_EVENTS"),
                ("BPF_EVENTS", "the kernel is built without CONFIG_BPF_EVENTS"),
            ]),
            (None, Some(false)) => Support::No("the kernel is built without CONFIG_KPROBE_EVENTS"),
            (None, None) => Support::Unknown,
        };
        let fentry = match (evidence.jit.map(str::trim), &config, evidence.direct_calls) {
            (Some("0"), ..) => Support::No(
                "the kernel's BPF JIT compiler is disabled; enable it with `sysctl net.core.bpf_jit_enable=1`",
            ),
            (_, Some(config), _) => config.needs(&[
                ("BPF_JIT", "the kernel is built without CONFIG_BPF_JIT"),
                (
                    "DYNAMIC_FTRACE_WITH_DIRECT_CALLS",
                    "the kernel is built without CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS",
                ),
            ]),
            (_, None, Some(true)) => Support::Yes,
            (_, None, Some(false)) => {
                Support::No("the kernel is built without CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS")
            }
            (_, None, None) => Support::Unknown,
        };
        let fprobe = match evidence.fprobe_by_ftrace {
            Some(true) => Support::Yes,
            Some(false) => {
                Support::No("the kernel has no fprobe that ftrace calls (Linux 6.19 and later have)")
            }
            None => Support::Unknown,
        };
        let fprobe_many = match (fprobe, evidence.fprobe_handler) {
            (Support::Yes, _) | (_, Some(true)) => Support::Yes,
            (no, _) => no,
        };
        let lsm = match (evidence.lsm, &config) {
            (Some(list), _) if list.trim().split(',').any(|name| name == "bpf") => Support::Yes,
            (Some(_), Some(config)) if config.is_on("BPF_LSM") => {
                Support::No("the kernel's command line omits `bpf` in `lsm=`")
            }
            (Some(_), _) => Support::No(
                "the kernel is built without CONFIG_BPF_LSM, or its command line omits `bpf` in `lsm=`",
            ),
            (None, Some(config)) if !config.is_on("BPF_LSM") => {
                Support::No("the kernel is built without CONFIG_BPF_LSM")
            }
            (None, _) => Support::Unknown,
        };
        let without_overrides = "the kernel is built without CONFIG_BPF_KPROBE_OVERRIDE";
        let overrides = match (&config, evidence.override_helper) {
            (_, Some(true)) => Support::Yes,
            (_, Some(false)) => Support::No(without_overrides),
            (Some(config), None) => config.needs(&[("BPF_KPROBE_OVERRIDE", without_overrides)]),
            (None, None) => Support::Unknown,
        };
        Self {
            kprobes,
            fentry,
            fprobe,
            fprobe_many,
            lsm,
            overrides,
            preemption: preemption(evidence, config.as_ref()),
        }
    }
}

/// `kernel/sched/debug.c:sched_dynamic_show` puts the mode in use in parentheses. Without that file: the build's
/// name (`init/Makefile`: `PREEMPT`, `PREEMPT_DYNAMIC`, `PREEMPT_RT`), or the configuration.
fn preemption(evidence: &Evidence<'_>, config: Option<&Config<'_>>) -> Option<Preemption> {
    let in_use = evidence
        .preempt
        .and_then(|text| text.split_once('('))
        .and_then(|(_, rest)| rest.split_once(')'))
        .and_then(|(name, _)| match name {
            "none" => Some(Preemption::None),
            "voluntary" => Some(Preemption::Voluntary),
            "full" => Some(Preemption::Full),
            "lazy" => Some(Preemption::Lazy),
            _ => None,
        });
    if in_use.is_some() {
        return in_use;
    }
    let built = |name: &str| evidence.version.split_whitespace().any(|word| word == name);
    let on = |name: &str| config.is_some_and(|config| config.is_on(name));
    if built("PREEMPT_RT") || on("PREEMPT_RT") {
        Some(Preemption::RealTime)
    } else if built("PREEMPT_DYNAMIC") || on("PREEMPT_DYNAMIC") {
        Some(Preemption::Dynamic)
    } else if built("PREEMPT") || on("PREEMPT") {
        Some(Preemption::Full)
    } else if on("PREEMPT_LAZY") {
        Some(Preemption::Lazy)
    } else if on("PREEMPT_VOLUNTARY") {
        Some(Preemption::Voluntary)
    } else if on("PREEMPT_NONE") {
        Some(Preemption::None)
    } else {
        None
    }
}

/// The build options of a kernel, without `CONFIG_`.
struct Config<'a>(BTreeSet<&'a str>);

impl<'a> Config<'a> {
    fn parse(text: &'a str) -> Self {
        let option = |line: &'a str| line.strip_prefix("CONFIG_")?.strip_suffix("=y");
        Self(text.lines().filter_map(option).collect())
    }

    fn is_on(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Supported, or the consequence of the first missing option.
    fn needs(&self, options: &[(&str, &'static str)]) -> Support {
        options
            .iter()
            .find(|(name, _)| !self.is_on(name))
            .map_or(Support::Yes, |(_, reason)| Support::No(reason))
    }
}

impl fmt::Display for Preemption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Voluntary => "voluntary",
            Self::Full => "full",
            Self::Lazy => "lazy",
            Self::RealTime => "real-time",
            Self::Dynamic => "dynamic",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of the configuration of Debian's 6.12.
    const CONFIG: &str = "# CONFIG_PREEMPT_NONE is not set\nCONFIG_PREEMPT_VOLUNTARY=y\nCONFIG_PREEMPT_DYNAMIC=y\n\
        CONFIG_KPROBES=y\nCONFIG_KPROBE_EVENTS=y\nCONFIG_BPF_EVENTS=y\nCONFIG_BPF_JIT=y\nCONFIG_BPF_LSM=y\n\
        CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y\n# CONFIG_FUNCTION_ERROR_INJECTION is not set\n";

    #[test]
    fn from_the_configuration() {
        let features = Features::new(&Evidence { config: Some(CONFIG), ..Evidence::default() });
        assert_eq!(features.kprobes, Support::Yes);
        assert_eq!(features.fentry, Support::Yes);
        assert_eq!(features.lsm, Support::Unknown);
        assert_eq!(features.overrides, Support::No("the kernel is built without CONFIG_BPF_KPROBE_OVERRIDE"));
        assert_eq!(features.preemption, Some(Preemption::Dynamic));
        let without = CONFIG.replace("CONFIG_KPROBES=y", "# CONFIG_KPROBES is not set");
        let features = Features::new(&Evidence { config: Some(&without), ..Evidence::default() });
        assert_eq!(features.kprobes, Support::No("the kernel is built without CONFIG_KPROBES"));
    }

    #[test]
    fn from_what_the_kernel_shows() {
        let evidence = Evidence {
            kprobe_events: Some(false),
            direct_calls: Some(true),
            lsm: Some("lockdown,capability,landlock,yama,apparmor,bpf\n"),
            preempt: Some("none (voluntary) full \n"),
            version: "#1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1 (2026-11-12)",
            ..Evidence::default()
        };
        let features = Features::new(&evidence);
        assert!(matches!(features.kprobes, Support::No(_)));
        assert_eq!(features.fentry, Support::Yes);
        assert_eq!(features.lsm, Support::Yes);
        assert_eq!(features.overrides, Support::Unknown);
        assert_eq!(features.fprobe, Support::Unknown);
        let with = Features::new(&Evidence { fprobe_by_ftrace: Some(true), ..evidence });
        assert_eq!(with.fprobe, Support::Yes);
        let without = Features::new(&Evidence { fprobe_by_ftrace: Some(false), ..evidence });
        assert!(matches!(without.fprobe, Support::No(_)));
        let evidence = Evidence { override_helper: Some(true), ..evidence };
        assert_eq!(Features::new(&evidence).overrides, Support::Yes);
        assert_eq!(features.preemption, Some(Preemption::Voluntary));
        let off = Features::new(&Evidence { jit: Some("0\n"), ..evidence });
        assert!(matches!(off.fentry, Support::No(reason) if reason.contains("bpf_jit_enable")));
    }

    #[test]
    fn preemption_as_the_four_kernels_show_it() {
        for (preempt, version, expected) in [
            (None, "#1 SMP Debian 5.10.223-1 (2024-08-10)", None),
            (Some("none (voluntary) full "), "", Some(Preemption::Voluntary)),
            (Some("full (lazy) "), "#1 SMP PREEMPT_DYNAMIC Debian 7.3.4-1", Some(Preemption::Lazy)),
            (None, "#1 SMP PREEMPT_RT Debian", Some(Preemption::RealTime)),
            (None, "#1 SMP PREEMPT Debian", Some(Preemption::Full)),
        ] {
            assert_eq!(
                Features::new(&Evidence { preempt, version, ..Evidence::default() }).preemption,
                expected
            );
        }
    }
}
