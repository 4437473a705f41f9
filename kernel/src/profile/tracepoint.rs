//! The tracepoints of a kernel.

use super::{Profile, Types};
use crate::{Param, TracepointField, text};

/// Fields of every tracepoint, before its own (`tracing_generic_entry_update` of `kernel/trace/trace_events.c`):
/// `common_type`, `common_flags`, `common_preempt_count` and `common_pid`.
pub const COMMON_FIELDS: usize = 4;

impl Profile {
    /// The fields of a tracepoint: the [`COMMON_FIELDS`], then its own. Returns `None` if the kernel has no such
    /// tracepoint, or if its [tracepoints](Self::knows_tracepoints) are not known.
    pub fn tracepoint(&self, subsystem: &str, event: &str) -> Option<Vec<TracepointField>> {
        let name = format!("{subsystem}/{event}");
        match &self.types {
            Types::Live(live) => {
                let fields = text::tracepoint_fields(&live.tracepoint(&name)?);
                Some(fields).filter(|fields| fields.len() >= COMMON_FIELDS)
            }
            Types::Saved(saved) => saved.tracepoint(&name),
        }
    }

    /// The arguments of a tracepoint as its source has them (`TP_PROTO`), some without a name. An event has one prototype in
    /// the whole kernel, whatever its subsystem. Returns `None` if the kernel has no such tracepoint, or if its arguments
    /// are not known.
    pub fn raw_tracepoint(&self, event: &str) -> Option<Vec<Param>> {
        match &self.types {
            Types::Live(live) => live.raw_tracepoint(event),
            Types::Saved(saved) => saved.raw_tracepoint(event),
        }
    }

    /// Whether the kernel's tracepoints are known: not where the tracing file system could not be read, nor in files of the
    /// first format.
    pub fn knows_tracepoints(&self) -> bool {
        match &self.types {
            Types::Live(live) => live.events.is_some(),
            Types::Saved(saved) => saved.tracepoints.is_some(),
        }
    }

    /// The names of all tracepoints, `SUBSYSTEM/EVENT`, in order.
    pub fn tracepoints(&self) -> Vec<&str> {
        match &self.types {
            Types::Live(live) => live.events.iter().flatten().map(String::as_str).collect(),
            Types::Saved(saved) => saved.tracepoints.iter().flatten().map(|(name, _)| &**name).collect(),
        }
    }
}
