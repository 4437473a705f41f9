//! The sections of a policy that hold hooks.

use super::{Hook, Spec, names::names};

names! {
    /// A section of `spec` that holds hooks.
    pub enum Section {
        Kprobes = "kprobes",
        Fentries = "fentries",
        Tracepoints = "tracepoints",
        LsmHooks = "lsmhooks",
        Uprobes = "uprobes",
        Usdts = "usdts",
    }
}

impl Section {
    /// Its hooks.
    pub const fn hooks(self, spec: &Spec) -> &Vec<Hook> {
        match self {
            Self::Kprobes => &spec.kprobes,
            Self::Fentries => &spec.fentries,
            Self::Tracepoints => &spec.tracepoints,
            Self::LsmHooks => &spec.lsm_hooks,
            Self::Uprobes => &spec.uprobes,
            Self::Usdts => &spec.usdts,
        }
    }
}
