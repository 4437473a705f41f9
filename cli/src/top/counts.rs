//! The counters of one scrape, from Prometheus' text format.

use std::collections::BTreeMap;

use gatewatch_exposition::samples;

/// The counter of events. Its series are summed.
const EVENTS: &str = "tetragon_policy_events_total";
/// Counters of events that are in no series of [`EVENTS`].
const LOST: [&str; 2] = ["gatewatch_events_overflow_total", "gatewatch_events_missed_total"];
/// Policies by state.
const POLICIES: &str = "gatewatch_policies";

/// The source of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) policy: String,
    pub(super) namespace: String,
    pub(super) workload: String,
    pub(super) binary: String,
}

/// The counts of all agents so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) events: BTreeMap<Key, u64>,
    /// Events without labels, and calls that were not evaluated.
    pub(super) lost: u64,
    /// Running policies, summed over the agents.
    pub(super) running: u64,
    /// Policies that should run and do not.
    pub(super) not_running: u64,
}

impl Counts {
    /// Adds the counts of one agent. Lines that are not samples are skipped.
    pub(super) fn add(&mut self, text: &str) {
        for sample in samples(text).flatten() {
            let value = sample.count();
            if sample.metric == EVENTS {
                let label = |name| sample.label(name).to_owned();
                let key = Key {
                    policy: label("policy"),
                    namespace: label("namespace"),
                    workload: label("workload"),
                    binary: label("binary"),
                };
                *self.events.entry(key).or_default() += value;
            } else if LOST.contains(&sample.metric) {
                self.lost += value;
            } else if sample.metric == POLICIES {
                let running = sample.label("state") == "running";
                *(if running { &mut self.running } else { &mut self.not_running }) += value;
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) const TEXT: &str = r#"# HELP tetragon_policy_events_total Policy events calls observed.
# TYPE tetragon_policy_events_total counter
tetragon_policy_events_total{binary="/usr/bin/sudo",hook="kprobe:__x64_sys_execve",namespace="",pod="",policy="sudo-invocations",workload=""} 2
tetragon_policy_events_total{binary="/usr/bin/cat",hook="kprobe:security_file_permission",namespace="test",pod="a-1",policy="files",workload="a"} 4
tetragon_policy_events_total{binary="/usr/bin/cat",hook="kprobe:security_mmap_file",namespace="test",pod="a-2",policy="files",workload="a"} 3
gatewatch_events_overflow_total{hook="h",policy="files"} 5
gatewatch_policies{state="running"} 4
gatewatch_policies{state="refused"} 1
gatewatch_policies{state="failed"} 0
"#;

    pub(crate) fn counts(text: &str) -> Counts {
        let mut counts = Counts::default();
        counts.add(text);
        counts
    }

    #[test]
    fn series_of_one_key_are_added_up() {
        let counts = counts(TEXT);
        assert_eq!(counts.events.values().copied().collect::<Vec<_>>(), [7, 2]);
        assert_eq!((counts.lost, counts.running, counts.not_running), (5, 4, 1));
    }

    #[test]
    fn agents_are_added_up() {
        let mut counts = counts(TEXT);
        counts.add(TEXT);
        assert_eq!(counts.events.values().sum::<u64>(), 18);
    }

    #[test]
    fn escapes_and_broken_lines() {
        let line = r#"tetragon_policy_events_total{policy="a\"b\\c\nd",binary="x}y"} 1e3 1700000000"#;
        let counts = counts(&format!("{line}\n{}\n\ngarbage\nm{{a=\"b\n", &line[..40]));
        let (key, value) = counts.events.first_key_value().unwrap();
        assert_eq!((key.policy.as_str(), key.binary.as_str(), *value), ("a\"b\\c\nd", "x}y", 1000));
        assert_eq!(counts.events.len(), 1);
    }
}
