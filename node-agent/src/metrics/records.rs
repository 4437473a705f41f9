//! What became of records.

use super::{
    family::{Family, Metric, counter, gauge},
    number,
};
use crate::series::HookSample;

pub(super) const WRITTEN: Metric = counter(
    "gatewatch_events_written_total",
    "Matched events whose records an output has written. With those not written, these are all matched events of the hook.",
    &["hook", "policy"],
);
pub(super) const NOT_WRITTEN: Metric = counter(
    "gatewatch_events_not_written_total",
    "Matched events whose records no output has written, by reason. They are counted all the same.",
    &["hook", "policy", "reason"],
);
pub(super) const UNKNOWN: Metric = counter(
    "gatewatch_records_unknown_total",
    "Records that the agent could not read, or whose hook it does not know any more.",
    &[],
);
pub(super) const PROCESSES: Metric =
    gauge("gatewatch_record_processes", "Processes in the table by which records name them.", &[]);
pub(super) const CUT: Metric = counter(
    "gatewatch_record_processes_cut_total",
    "Programs whose arguments, working directory or long path the table of processes has cut. Their pod is over its share of \
     the table's memory.",
    &[],
);
pub(super) const WAITING: Metric =
    gauge("gatewatch_records_waiting", "Records that wait until the pod of their cgroup is known.", &[]);

/// What became of records.
#[derive(Clone, Debug, Default)]
pub struct RecordSamples {
    /// Written.
    pub written: Vec<HookSample>,
    /// Not written, by reason.
    pub not_written: Vec<(&'static str, Vec<HookSample>)>,
    /// Of no known hook.
    pub unknown: u64,
    /// Processes that are known.
    pub processes: u64,
    /// Programs whose texts were cut.
    pub cut: u64,
    /// Records that wait.
    pub waiting: u64,
}

/// Writes the families that come before those whose names begin with `gatewatch_gap`.
pub(super) fn write_events(samples: &RecordSamples, text: &mut String) {
    let mut not_written = Family::new(&NOT_WRITTEN);
    for (reason, samples) in &samples.not_written {
        for HookSample { policy, hook, value } in samples {
            not_written.add([&**hook, &**policy, *reason], number(*value));
        }
    }
    not_written.write(text);
}

/// Writes the one that comes last of these.
pub(super) fn write_written(samples: &RecordSamples, text: &mut String) {
    let mut written = Family::new(&WRITTEN);
    for HookSample { policy, hook, value } in &samples.written {
        written.add([&**hook, &**policy], number(*value));
    }
    written.write(text);
}

/// Writes the numbers of records as such.
pub(super) fn write_records(samples: &RecordSamples, text: &mut String) {
    for (metric, value) in [
        (&PROCESSES, samples.processes),
        (&CUT, samples.cut),
        (&UNKNOWN, samples.unknown),
        (&WAITING, samples.waiting),
    ] {
        let mut family = Family::new(metric);
        family.add([], number(value));
        family.write(text);
    }
}
