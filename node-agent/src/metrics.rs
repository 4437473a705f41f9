//! What Prometheus scrapes.
//!
//! Nothing is counted here: each scrape asks the [`Source`] for a [`Snapshot`] and writes it down. The one number
//! of our own is how long that took.

mod family;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};

use crate::series::{HookSample, Sample};
use family::Family;

/// Media type of what [`Exposition::render`] gives.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where the numbers come from.
pub trait Source: Send + Sync {
    /// What a scrape is to see now. May take as long as reading the kernel's maps does, and is not called on a
    /// thread that serves others.
    fn snapshot(&self) -> Snapshot;

    /// Whether the policies that there were at the start are taken care of: loaded, refused or failed. Cheap.
    fn ready(&self) -> bool;
}

/// Everything that is exported.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Matched events.
    pub samples: Vec<Sample>,
    /// All policies that there are, also those that don't run.
    pub policies: Vec<PolicyStatus>,
    /// Matched events that had no room in the kernel's table of counts: they are in no sample.
    pub overflow: Vec<HookSample>,
    /// Calls that the kernel didn't show to the program.
    pub missed: Vec<HookSample>,
    /// Milliseconds in which nobody counted for a hook although it was to be.
    pub gap_milliseconds: Vec<HookSample>,
    /// Matched events that wait for their pod to become known.
    pub pending_events: u64,
    /// How full the kernel's maps are.
    pub maps: Vec<MapFill>,
    /// What the kernel half had to leave out or cut: a word of a small fixed set, and how often.
    pub left_out: Vec<(&'static str, u64)>,
    /// Names the set of policies that run, whatever their order: the same on nodes that run the same.
    pub policy_set_hash: String,
    /// Things that are wrong with where policies and pods are read from: a file that can't be read and the like.
    pub source_problems: u64,
}

/// A policy and how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyStatus {
    /// Its name.
    pub name: String,
    /// Its namespace, for a namespaced one.
    pub namespace: Option<String>,
    /// How it is.
    pub state: PolicyState,
    /// Why it doesn't run: a diagnostic's code or another word of a small fixed set.
    pub reason: Cow<'static, str>,
    /// The same as a sentence; empty where it runs. Not for labels.
    pub sentence: String,
    /// `metadata.generation` of the object that this is about, where there is one.
    pub generation: Option<i64>,
    /// Memory in the kernel for the functions that it hooks: its share of it.
    pub kernel_memory_bytes: Option<u64>,
}

/// How a policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyState {
    /// The kernel counts for it.
    Running,
    /// It isn't right, or asks for what this kernel or version doesn't have.
    Refused,
    /// It is right, but couldn't be loaded.
    Failed,
    /// It is for other nodes.
    Skipped,
}

impl PolicyState {
    const ALL: [Self; 4] = [Self::Running, Self::Refused, Self::Failed, Self::Skipped];

    /// As it stands in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// How full a map of the kernel is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFill {
    /// Its name.
    pub map: &'static str,
    /// Entries in it.
    pub entries: u64,
    /// Entries that it can hold.
    pub capacity: u64,
}

/// Writes down what a [`Source`] has.
pub struct Exposition {
    registry: Registry,
}

/// Why a scrape has no answer.
#[derive(Debug, thiserror::Error)]
#[error("the metrics can't be written down: {0}")]
pub struct ExpositionError(#[from] prometheus::Error);

impl Exposition {
    /// Makes the exposition of a source.
    pub fn new(source: Arc<dyn Source>) -> Result<Self, ExpositionError> {
        let registry = Registry::new();
        registry.register(Box::new(Scrape { source, descs: descs()? }))?;
        Ok(Self { registry })
    }

    /// Takes a snapshot and writes it in Prometheus' text format: families sorted by name, series by labels.
    pub fn render(&self) -> Result<String, ExpositionError> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

struct Scrape {
    source: Arc<dyn Source>,
    descs: Vec<Desc>,
}

impl Collector for Scrape {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let start = Instant::now();
        let mut families = families(&self.source.snapshot());
        let mut duration = Family::new(&SCRAPE_DURATION);
        duration.set([], start.elapsed().as_secs_f64());
        families.push(duration);
        families.into_iter().map(Family::encode).collect()
    }
}

/// Name, help, kind and labels of a metric.
#[derive(Debug)]
struct Metric {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    /// Sorted, which is the order in which they are written.
    labels: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

const fn counter(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Metric {
    Metric { name, help, kind: Kind::Counter, labels }
}

const fn gauge(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Metric {
    Metric { name, help, kind: Kind::Gauge, labels }
}

// Name, help and labels are Tetragon's, so that its users' dashboards and rules go on working.
const EVENTS: Metric = counter(
    "tetragon_policy_events_total",
    "Policy events calls observed.",
    &["binary", "hook", "namespace", "pod", "policy", "workload"],
);
const POLICIES: Metric = gauge(
    "gatewatch_policies",
    "Policies by state: running, refused (not right), failed (not loadable) or skipped (for other nodes).",
    &["state"],
);
const POLICY_INFO: Metric = gauge(
    "gatewatch_policy_info",
    "State of each policy, and a code for why it does not run; the value is 1.",
    &["namespace", "policy", "reason", "state"],
);
const POLICY_MEMORY: Metric = gauge(
    "gatewatch_policy_kernel_memory_bytes",
    "Memory in the kernel for the functions that the policy hooks, shared out among the policies on each.",
    &["namespace", "policy"],
);
const OVERFLOW: Metric = counter(
    "gatewatch_events_overflow_total",
    "Matched events that found the table of counts full; they are in no series of tetragon_policy_events_total.",
    &["hook", "policy"],
);
const MISSED: Metric = counter(
    "gatewatch_events_missed_total",
    "Calls of the watched function that the kernel did not show to the program, matched or not.",
    &["hook", "policy"],
);
const GAP: Metric = counter(
    "gatewatch_gap_seconds_total",
    "Time in which nothing was counted for a hook because no agent ran and the kernel could not keep the hook.",
    &["hook", "policy"],
);
const PENDING: Metric = gauge(
    "gatewatch_attribution_pending_events",
    "Matched events that are held back until the pod of their cgroup is known.",
    &[],
);
const MAP_ENTRIES: Metric = gauge("gatewatch_map_entries", "Entries in a map of the kernel half.", &["map"]);
const MAP_CAPACITY: Metric =
    gauge("gatewatch_map_capacity", "Entries that a map of the kernel half can hold.", &["map"]);
const LEFT_OUT: Metric = counter(
    "gatewatch_left_out_total",
    "Times that the kernel half had to leave something out or cut it, by what it was.",
    &["what"],
);
const SOURCE_PROBLEMS: Metric = gauge(
    "gatewatch_source_problems",
    "Files of policies or pods that can not be read now; what they said last is still in force.",
    &[],
);
const BUILD_INFO: Metric =
    gauge("gatewatch_build_info", "Version of the agent; the value is 1.", &["version"]);
const POLICY_SET: Metric = gauge(
    "gatewatch_policy_set_info",
    "Hash of the policies that run, equal on nodes that run the same; the value is 1.",
    &["hash"],
);
const SCRAPE_DURATION: Metric = gauge(
    "gatewatch_scrape_duration_seconds",
    "Time that this scrape took to read the kernel's counts and attribute them.",
    &[],
);

const METRICS: [&Metric; 15] = [
    &EVENTS,
    &POLICIES,
    &POLICY_INFO,
    &POLICY_MEMORY,
    &OVERFLOW,
    &MISSED,
    &GAP,
    &PENDING,
    &MAP_ENTRIES,
    &MAP_CAPACITY,
    &LEFT_OUT,
    &SOURCE_PROBLEMS,
    &BUILD_INFO,
    &POLICY_SET,
    &SCRAPE_DURATION,
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

fn descs() -> Result<Vec<Desc>, prometheus::Error> {
    METRICS
        .iter()
        .map(|metric| {
            let labels = metric.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(
                metric.name.to_owned(),
                metric.help.to_owned(),
                labels,
                std::collections::HashMap::new(),
            )
        })
        .collect()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "numbers are doubles in Prometheus; those beyond 2^53 are rounded"
)]
fn number(value: u64) -> f64 {
    value as f64
}

fn families(snapshot: &Snapshot) -> Vec<Family> {
    let Snapshot {
        samples,
        policies,
        overflow,
        missed,
        gap_milliseconds,
        pending_events,
        maps,
        left_out,
        policy_set_hash,
        source_problems,
    } = snapshot;

    let mut events = Family::new(&EVENTS);
    for Sample { labels: l, value } in samples {
        events.add([&*l.binary, &*l.hook, &*l.namespace, &*l.pod, &*l.policy, &*l.workload], number(*value));
    }

    let mut states = Family::new(&POLICIES);
    for state in PolicyState::ALL {
        let there = policies.iter().filter(|policy| policy.state == state).count();
        states.set([state.as_str()], number(there as u64));
    }
    let (mut info, mut memory) = (Family::new(&POLICY_INFO), Family::new(&POLICY_MEMORY));
    for policy in policies {
        let namespace = policy.namespace.as_deref().unwrap_or_default();
        info.set([namespace, &policy.name, &policy.reason, policy.state.as_str()], 1.0);
        if let Some(bytes) = policy.kernel_memory_bytes {
            memory.add([namespace, &policy.name], number(bytes));
        }
    }

    let per_hook = |metric, totals: &[HookSample]| {
        let mut family = Family::new(metric);
        for HookSample { policy, hook, value } in totals {
            family.add([&**hook, &**policy], number(*value));
        }
        family
    };
    let mut gap = Family::new(&GAP);
    for HookSample { policy, hook, value } in gap_milliseconds {
        gap.add([&**hook, &**policy], number(*value) / 1_000.0);
    }
    let (mut entries, mut capacity) = (Family::new(&MAP_ENTRIES), Family::new(&MAP_CAPACITY));
    for MapFill { map, entries: used, capacity: all } in maps {
        entries.set([*map], number(*used));
        capacity.set([*map], number(*all));
    }
    let mut without_room = Family::new(&LEFT_OUT);
    for (what, times) in left_out {
        without_room.add([*what], number(*times));
    }
    let single = |metric, value| {
        let mut family = Family::new(metric);
        family.set([], value);
        family
    };
    let named = |metric, name: &str| {
        let mut family = Family::new(metric);
        family.set([name], 1.0);
        family
    };
    vec![
        events,
        states,
        info,
        memory,
        per_hook(&OVERFLOW, overflow),
        per_hook(&MISSED, missed),
        gap,
        single(&PENDING, number(*pending_events)),
        entries,
        capacity,
        without_room,
        single(&SOURCE_PROBLEMS, number(*source_problems)),
        named(&BUILD_INFO, env!("CARGO_PKG_VERSION")),
        named(&POLICY_SET, policy_set_hash),
    ]
}

#[cfg(test)]
pub(crate) mod tests;
