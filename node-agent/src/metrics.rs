//! The metrics that Prometheus scrapes.
//!
//! Nothing is counted here: each scrape takes a [`Snapshot`] from the [`Source`] and writes it as text. The one number that
//! is added is how long that took.

mod enforcement;
mod events;
mod family;
mod places;
mod records;
mod status;
mod tables;

use std::{collections::HashSet, time::Instant};

use self::family::{Family, Kind, Metric, counter, gauge};
use crate::{
    enforcement::Mode,
    series::{HookSample, LastEvent, OutcomeSample, Samples},
};

pub use self::{
    places::AtPrograms,
    records::RecordSamples,
    status::{PolicyState, PolicyStatus},
    tables::{MapFill, OverShare},
};

/// Media type of what [`Exposition::render`] gives.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The source of the numbers.
pub trait Source: Send + Sync {
    /// The numbers of now. May take as long as reading the kernel's maps does, so it is not called on a thread that serves
    /// other requests. It never waits for a program to be loaded.
    fn snapshot(&self) -> Snapshot;

    /// Whether the policies that existed at the start are loaded, rejected or failed; if not, the reason. Cheap.
    fn ready(&self) -> Result<(), String>;
}

/// Everything that is exported.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Matched events.
    pub samples: Samples,
    /// All policies, also those that don't run.
    pub policies: Vec<PolicyStatus>,
    /// Matched events that had no room in the kernel's table of counts: they are in no sample.
    pub overflow: Vec<HookSample>,
    /// Matched events that were dropped because their pod never became known.
    pub unattributed: Vec<HookSample>,
    /// Outcomes of actions.
    pub outcomes: Vec<OutcomeSample>,
    /// What all policies of the node may do; `None` until that is known.
    pub enforcement: Option<Mode>,
    /// Calls for which the kernel did not run the program.
    pub missed: Vec<HookSample>,
    /// Matched or unmatched events of processes whose program isn't known, at points where a policy asks for it.
    pub unknown_processes: Vec<HookSample>,
    /// Pods that have used up their share of a table.
    pub over_share: Vec<OverShare>,
    /// Milliseconds in which nothing counted for a hook although it should.
    pub gap_milliseconds: Vec<HookSample>,
    /// Matched events that wait for their pod to become known.
    pub pending_events: u64,
    /// How full the kernel's maps are.
    pub maps: Vec<MapFill>,
    /// Things that the BPF programs had to leave out or cut: a word of a small fixed set, and how often.
    pub left_out: Vec<(&'static str, u64)>,
    /// What became of records; none where nothing is recorded.
    pub records: Option<RecordSamples>,
    /// Where programs are attached to user programs.
    pub user_programs: Vec<AtPrograms>,
    /// Hash of all policies in every state, whatever their order: the same on nodes that know the same.
    pub policy_set_hash: String,
    /// Number of problems with the sources of policies and pods, such as files that cannot be read.
    pub source_problems: u64,
    /// The reason why no policy can run on this node: a word of a small fixed set.
    pub unsupported: Option<&'static str>,
}

/// Takes a snapshot and writes it in Prometheus' text format: families sorted by name, series by labels.
pub fn render(source: &dyn Source) -> String {
    let start = Instant::now();
    let snapshot = source.snapshot();
    write(&snapshot, start.elapsed().as_secs_f64())
}

// Name, help and labels are Tetragon's, so that its users' dashboards and rules continue to work.
const EVENTS: Metric = counter(
    "tetragon_policy_events_total",
    "Policy events calls observed.",
    &["binary", "hook", "namespace", "pod", "policy", "workload"],
);
// Name, help and labels are Tetragon's.
const ACTIONS: Metric = counter(
    "tetragon_tracingpolicy_selector_actions_total",
    "Number of actions executed by selector.",
    &["action", "hook", "hook_index", "policy", "policy_namespace", "selector_index", "selector_label"],
);
const SPARED: Metric = counter(
    "gatewatch_enforcement_spared_total",
    "Times that a policy's actions were not performed although it enforces, by reason: pending (the pod is not known yet), \
     agent, node-service, container-setup, init or unknown-process.",
    &["hook", "policy", "policy_namespace", "reason"],
);
const ENFORCEMENT: Metric = gauge(
    "gatewatch_enforcement_mode",
    "Mode in force on this node: 1 for off, monitor or enforce, for each policy with actions that can be performed, and with an \
     empty policy for the node.",
    &["mode", "policy", "policy_namespace"],
);
const POLICIES: Metric = gauge(
    "gatewatch_policies",
    "Policies by state: running, `refused` (invalid), failed (not loadable) or skipped (for other nodes).",
    &["state"],
);
// Tetragon's as well.
const LOADED: Metric =
    gauge("tetragon_tracingpolicy_loaded", "The number of loaded tracing policy by state.", &["state"]);
const POLICY_INFO: Metric = gauge(
    "gatewatch_policy_info",
    "State of each policy, and a code for the reason why it does not run; the value is 1.",
    &["namespace", "policy", "reason", "state"],
);
const POLICY_MEMORY: Metric = gauge(
    "gatewatch_policy_kernel_memory_bytes",
    "Kernel memory for the functions that the policy hooks, divided among the policies on each function.",
    &["namespace", "policy"],
);
const OVERFLOW: Metric = counter(
    "gatewatch_events_overflow_total",
    "Matched events that were not counted in tetragon_policy_events_total because the table of counts was full.",
    &["hook", "policy"],
);
const MISSED: Metric = counter(
    "gatewatch_events_missed_total",
    "Calls of the hooked function for which the kernel did not run the program, matched or not.",
    &["hook", "policy"],
);
const UNATTRIBUTED: Metric = counter(
    "gatewatch_events_unattributed_total",
    "Matched events that were dropped because their pod did not become known, so that its labels could not be matched.",
    &["hook", "policy"],
);
const UNKNOWN_PROCESSES: Metric = counter(
    "gatewatch_unknown_process_events_total",
    "Events that matchBinaries could not decide, because the table of processes has no entry for the process.",
    &["hook", "policy"],
);
const OVER_SHARE: Metric = gauge(
    "gatewatch_pod_over_share",
    "Pods that used up their share of a BPF map in the last 5 minutes; the value is 1. The host has no pod.",
    &["namespace", "pod", "table"],
);
const GAP: Metric = counter(
    "gatewatch_gap_seconds_total",
    "Time in which nothing was counted for a hook: no agent ran and the kernel could not keep the hook, or the hook got another \
     program because its list changed.",
    &["hook", "policy"],
);
const UPROBE_PLACES: Metric = gauge(
    "gatewatch_uprobe_places",
    "Containers with a file that a hook in uprobes names, by whether the hook is attached to it or failed. The host counts as \
     one.",
    &["hook", "policy", "state"],
);
const LAST_EVENT: Metric = gauge(
    "gatewatch_last_event_timestamp_seconds",
    "Time at which the agent last saw a count of the policy's hook grow, by pod, in seconds since 1970.",
    &["hook", "namespace", "pod", "policy"],
);
const PENDING: Metric = gauge(
    "gatewatch_attribution_pending_events",
    "Matched events that are not exported yet because the pod of their cgroup is unknown.",
    &[],
);
const MAP_ENTRIES: Metric = gauge("gatewatch_map_entries", "Entries in a BPF map.", &["map"]);
const MAP_CAPACITY: Metric =
    gauge("gatewatch_map_capacity", "Maximum number of entries in a BPF map.", &["map"]);
const LEFT_OUT: Metric = counter(
    "gatewatch_left_out_total",
    "Times that the BPF programs had to leave something out or cut it, by kind.",
    &["what"],
);
const SOURCE_PROBLEMS: Metric = gauge(
    "gatewatch_source_problems",
    "Files of policies or pods that cannot be read now; their last contents are still in force.",
    &[],
);
const BUILD_INFO: Metric =
    gauge("gatewatch_build_info", "Version of the agent; the value is 1.", &["version"]);
const POLICY_SET: Metric = gauge(
    "gatewatch_policy_set_info",
    "Hash of the policies that the agent knows, also of those that do not run on its node; equal on all nodes that know the \
     same; the value is 1.",
    &["hash"],
);
const UNSUPPORTED: Metric = gauge(
    "gatewatch_node_unsupported",
    "Reason why no policy can run on this node: user-namespace, cgroup-v1, no-cgroup-v2, own-cgroup, pid-namespace or \
     no-kprobes; the value is 1.",
    &["reason"],
);
const SCRAPE_DURATION: Metric = gauge(
    "gatewatch_scrape_duration_seconds",
    "Time that this scrape took to read the kernel's counts and attribute them.",
    &[],
);

const METRICS: [&Metric; 31] = [
    &EVENTS,
    &ACTIONS,
    &SPARED,
    &ENFORCEMENT,
    &LOADED,
    &LAST_EVENT,
    &POLICIES,
    &POLICY_INFO,
    &POLICY_MEMORY,
    &OVERFLOW,
    &MISSED,
    &UNATTRIBUTED,
    &UNKNOWN_PROCESSES,
    &OVER_SHARE,
    &UPROBE_PLACES,
    &GAP,
    &PENDING,
    &MAP_ENTRIES,
    &MAP_CAPACITY,
    &LEFT_OUT,
    &SOURCE_PROBLEMS,
    &BUILD_INFO,
    &POLICY_SET,
    &UNSUPPORTED,
    &SCRAPE_DURATION,
    &records::WRITTEN,
    &records::NOT_WRITTEN,
    &records::UNKNOWN,
    &records::PROCESSES,
    &records::CUT,
    &records::WAITING,
];

/// The rows of the table of metrics in docs/metrics.md: name, type, labels, help.
pub fn reference() -> Vec<String> {
    let row = |metric: &&Metric| {
        let Metric { name, help, kind, labels } = metric;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "))
    };
    METRICS.iter().map(row).collect()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "numbers are doubles in Prometheus; those beyond 2^53 are rounded"
)]
fn number(value: u64) -> f64 {
    value as f64
}

/// The text. `took` is how long it took to take the snapshot, in seconds.
#[allow(clippy::too_many_lines, reason = "one step for each metric, in their order")]
fn write(snapshot: &Snapshot, took: f64) -> String {
    let Snapshot {
        samples,
        policies,
        overflow,
        unattributed,
        outcomes,
        enforcement: node_mode,
        missed,
        unknown_processes,
        over_share,
        gap_milliseconds,
        pending_events,
        maps,
        left_out,
        records,
        user_programs,
        policy_set_hash,
        source_problems,
        unsupported,
    } = snapshot;
    let mut text = String::with_capacity(16_384);
    let text = &mut text;

    let single = |metric, value, text: &mut String| {
        let mut family = Family::new(metric);
        family.add([], value);
        family.write(text);
    };
    let named = |metric, name: &str, text: &mut String| {
        let mut family = Family::new(metric);
        family.add([name], 1.0);
        family.write(text);
    };
    let per_hook = |metric, totals: &[HookSample], unit: f64, text: &mut String| {
        let mut family = Family::new(metric);
        for HookSample { policy, hook, value } in totals {
            family.add([&**hook, &**policy], number(*value) / unit);
        }
        family.write(text);
    };

    // Sorted by name: a test compares.
    single(&PENDING, number(*pending_events), text);
    named(&BUILD_INFO, env!("CARGO_PKG_VERSION"), text);
    enforcement::write_modes(&ENFORCEMENT, *node_mode, policies, text);
    enforcement::write_spared(&SPARED, outcomes, text);
    per_hook(&MISSED, missed, 1.0, text);
    if let Some(records) = records {
        records::write_events(records, text);
    }
    per_hook(&OVERFLOW, overflow, 1.0, text);
    per_hook(&UNATTRIBUTED, unattributed, 1.0, text);
    if let Some(records) = records {
        records::write_written(records, text);
    }
    per_hook(&GAP, gap_milliseconds, 1_000.0, text);
    let mut last_events = Family::new(&LAST_EVENT);
    for LastEvent { hook, namespace, pod, policy, milliseconds } in samples.last_events() {
        last_events.add([hook, namespace, pod, policy], number(milliseconds) / 1_000.0);
    }
    last_events.write(text);
    let mut without_room = Family::new(&LEFT_OUT);
    for (what, times) in left_out {
        without_room.add([*what], number(*times));
    }
    without_room.write(text);
    let (mut entries, mut capacity) = (Family::new(&MAP_ENTRIES), Family::new(&MAP_CAPACITY));
    for MapFill { map, entries: used, capacity: all } in maps {
        entries.add([*map], number(*used));
        capacity.add([*map], number(*all));
    }
    capacity.write(text);
    entries.write(text);
    let mut without = Family::new(&UNSUPPORTED);
    if let Some(reason) = unsupported {
        without.add([*reason], 1.0);
    }
    without.write(text);
    let mut over = Family::new(&OVER_SHARE);
    for OverShare { namespace, pod, table } in over_share {
        over.add([namespace, pod, *table], 1.0);
    }
    over.write(text);
    let mut states = Family::new(&POLICIES);
    for state in PolicyState::ALL {
        let there = policies.iter().filter(|policy| policy.state == state).count();
        states.add([state.as_str()], number(there as u64));
    }
    states.write(text);
    let mut info: HashSet<[&str; 4]> = HashSet::new();
    let mut memory = Family::new(&POLICY_MEMORY);
    for policy in policies {
        let namespace = policy.namespace.as_deref().unwrap_or_default();
        info.insert([namespace, &policy.name, &policy.reason, policy.state.as_str()]);
        if let Some(bytes) = policy.kernel_memory_bytes {
            memory.add([namespace, &policy.name], number(bytes));
        }
    }
    let mut infos = Family::new(&POLICY_INFO);
    for labels in info {
        infos.add(labels, 1.0);
    }
    infos.write(text);
    memory.write(text);
    named(&POLICY_SET, policy_set_hash, text);
    if let Some(records) = records {
        records::write_records(records, text);
    }
    single(&SCRAPE_DURATION, took, text);
    single(&SOURCE_PROBLEMS, number(*source_problems), text);
    per_hook(&UNKNOWN_PROCESSES, unknown_processes, 1.0, text);
    places::write(&UPROBE_PLACES, user_programs, text);
    events::write(&EVENTS, samples, text);
    status::write_loaded(&LOADED, policies, text);
    enforcement::write_outcomes(&ACTIONS, outcomes, text);
    std::mem::take(text)
}

#[cfg(test)]
pub(crate) mod tests;
