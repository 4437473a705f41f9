//! The sections of a policy that hold hooks.

use super::names::names;

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
