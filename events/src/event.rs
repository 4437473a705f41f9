//! One record.

use std::collections::BTreeMap;

use gatewatch_policy::hook_point::{HookPoint, When};
use serde::{Deserialize, Serialize};

use crate::{
    argument::Argument,
    hook::{Kprobe, Loader, Lsm, Match, Processes, Tracepoint, Uprobe, Usdt},
    json::{decimal, proto_enum, unset},
    process::Process,
    time::Timestamp,
};

/// One record, as Tetragon's `GetEventsResponse`: one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The part that depends on the kind.
    #[serde(flatten)]
    pub body: Body,
    /// The node's name.
    #[serde(default, skip_serializing_if = "unset")]
    pub node_name: String,
    /// When the event happened. `None` only in records of another writer.
    #[serde(default, skip_serializing_if = "unset")]
    pub time: Option<Timestamp>,
    /// The cluster's name, with `--cluster-name`.
    #[serde(default, skip_serializing_if = "unset")]
    pub cluster_name: String,
    /// The node's labels.
    #[serde(default, skip_serializing_if = "unset")]
    pub node_labels: BTreeMap<String, String>,
    /// Gatewatch's own: the record's number on this node. It begins at 1 when the agent starts, and increases by 1 with
    /// each record that the kernel hands over, so a gap shows a loss or a filter. 0: none.
    #[serde(default, with = "decimal", skip_serializing_if = "unset")]
    pub seq: u64,
    /// Gatewatch's own: when the agent that counts `seq` started. It tells a restart from a gap.
    #[serde(default, skip_serializing_if = "unset")]
    pub agent_start: Option<Timestamp>,
}

/// The body of a record: the one key of `process_exec`, `process_exit`, … that it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// A process executed a program, or was found running when the agent started.
    ProcessExec(Box<Exec>),
    /// The last thread of a process ended.
    ProcessExit(Box<Exit>),
    /// A hook of `kprobes` or `fentries` took an event.
    ProcessKprobe(Box<Kprobe>),
    /// A hook of `tracepoints` or `rawtracepoints` took an event.
    ProcessTracepoint(Box<Tracepoint>),
    /// A program or library was mapped.
    ProcessLoader(Box<Loader>),
    /// A hook of `uprobes` took an event.
    ProcessUprobe(Box<Uprobe>),
    /// A cgroup's events were limited (Tetragon alone).
    ProcessThrottle(Throttle),
    /// A hook of `lsmhooks` took an event.
    ProcessLsm(Box<Lsm>),
    /// A hook of `usdts` took an event.
    ProcessUsdt(Box<Usdt>),
    /// Records were left out by a limit (Tetragon alone).
    RateLimitInfo(RateLimitInfo),
}

/// An execution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exec {
    /// The processes.
    #[serde(flatten)]
    pub processes: Processes,
}

/// The end of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exit {
    /// The processes.
    #[serde(flatten)]
    pub processes: Processes,
    /// The signal that ended it, such as `SIGKILL`; empty if no signal did.
    #[serde(skip_serializing_if = "unset")]
    pub signal: String,
    /// The exit status.
    #[serde(skip_serializing_if = "unset")]
    pub status: u32,
    /// When it ended: the same as the record's `time`.
    #[serde(skip_serializing_if = "unset")]
    pub time: Option<Timestamp>,
}

/// A cgroup whose events Tetragon limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Throttle {
    /// `THROTTLE_START` or `THROTTLE_STOP`.
    #[serde(rename = "type", skip_serializing_if = "unset")]
    pub kind: String,
    /// The cgroup.
    #[serde(skip_serializing_if = "unset")]
    pub cgroup: String,
}

/// How many records a limit left out in the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RateLimitInfo {
    /// Their number.
    #[serde(with = "decimal", skip_serializing_if = "unset")]
    pub number_of_dropped_process_events: u64,
}

/// The kind of a record, as Tetragon's `EventType`. Filters name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "see the variants of `Body`")]
pub enum Kind {
    #[default]
    Undefined,
    Exec,
    Exit,
    Kprobe,
    Tracepoint,
    Loader,
    Uprobe,
    Throttle,
    Lsm,
    Usdt,
    Test,
    RateLimitInfo,
}

proto_enum! { Kind,
    0 => Undefined = "UNDEF";
    1 => Exec = "PROCESS_EXEC";
    5 => Exit = "PROCESS_EXIT";
    9 => Kprobe = "PROCESS_KPROBE";
    10 => Tracepoint = "PROCESS_TRACEPOINT";
    11 => Loader = "PROCESS_LOADER";
    12 => Uprobe = "PROCESS_UPROBE";
    27 => Throttle = "PROCESS_THROTTLE";
    28 => Lsm = "PROCESS_LSM";
    29 => Usdt = "PROCESS_USDT";
    40000 => Test = "TEST";
    40001 => RateLimitInfo = "RATE_LIMIT_INFO";
}

impl Event {
    /// A record with this body and time; the other fields are empty.
    pub fn new(body: Body, time: Timestamp) -> Self {
        Self {
            body,
            node_name: String::new(),
            time: Some(time),
            cluster_name: String::new(),
            node_labels: BTreeMap::new(),
            seq: 0,
            agent_start: None,
        }
    }

    /// Reads one line.
    pub fn parse(line: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(line)
    }

    /// Its line of JSON, without the newline: for any values one line of valid JSON.
    pub fn to_line(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match &self.body {
            Body::ProcessExec(_) => Kind::Exec,
            Body::ProcessExit(_) => Kind::Exit,
            Body::ProcessKprobe(_) => Kind::Kprobe,
            Body::ProcessTracepoint(_) => Kind::Tracepoint,
            Body::ProcessLoader(_) => Kind::Loader,
            Body::ProcessUprobe(_) => Kind::Uprobe,
            Body::ProcessThrottle(_) => Kind::Throttle,
            Body::ProcessLsm(_) => Kind::Lsm,
            Body::ProcessUsdt(_) => Kind::Usdt,
            Body::RateLimitInfo(_) => Kind::RateLimitInfo,
        }
    }

    /// Its processes; `None` for notes of Tetragon about itself.
    pub fn processes(&self) -> Option<&Processes> {
        Some(match &self.body {
            Body::ProcessExec(body) => &body.processes,
            Body::ProcessExit(body) => &body.processes,
            Body::ProcessKprobe(body) => &body.processes,
            Body::ProcessTracepoint(body) => &body.processes,
            Body::ProcessLoader(body) => &body.processes,
            Body::ProcessUprobe(body) => &body.processes,
            Body::ProcessLsm(body) => &body.processes,
            Body::ProcessUsdt(body) => &body.processes,
            Body::ProcessThrottle(_) | Body::RateLimitInfo(_) => return None,
        })
    }

    /// The same, to change them.
    pub fn processes_mut(&mut self) -> Option<&mut Processes> {
        Some(match &mut self.body {
            Body::ProcessExec(body) => &mut body.processes,
            Body::ProcessExit(body) => &mut body.processes,
            Body::ProcessKprobe(body) => &mut body.processes,
            Body::ProcessTracepoint(body) => &mut body.processes,
            Body::ProcessLoader(body) => &mut body.processes,
            Body::ProcessUprobe(body) => &mut body.processes,
            Body::ProcessLsm(body) => &mut body.processes,
            Body::ProcessUsdt(body) => &mut body.processes,
            Body::ProcessThrottle(_) | Body::RateLimitInfo(_) => return None,
        })
    }

    /// Its process.
    pub fn process(&self) -> Option<&Process> {
        self.processes().map(|processes| &processes.process)
    }

    /// The policy that caused it; `None` for kinds without one.
    pub fn matched(&self) -> Option<&Match> {
        Some(match &self.body {
            Body::ProcessKprobe(body) => &body.matched,
            Body::ProcessTracepoint(body) => &body.matched,
            Body::ProcessUprobe(body) => &body.matched,
            Body::ProcessLsm(body) => &body.matched,
            Body::ProcessUsdt(body) => &body.matched,
            _ => return None,
        })
    }

    /// The label `hook` of the metrics for what was called, such as `kprobe:tcp_connect`; `None` for kinds without a policy.
    pub fn label(&self) -> Option<String> {
        // Points that a record does not tell apart, such as the sides of a function, have one label.
        let when = When::Entry;
        let point = match &self.body {
            Body::ProcessKprobe(body) => HookPoint::Function { symbol: body.function_name.clone(), when },
            Body::ProcessTracepoint(body) => {
                HookPoint::Tracepoint { subsystem: body.subsys.clone(), event: body.event.clone() }
            }
            Body::ProcessLsm(body) => HookPoint::Lsm { hook: body.function_name.clone() },
            Body::ProcessUprobe(body) => HookPoint::Uprobe { path: body.path.clone(), at: body.at(), when },
            Body::ProcessUsdt(body) => HookPoint::Usdt {
                path: body.path.clone(),
                provider: body.provider.clone(),
                name: body.name.clone(),
            },
            _ => return None,
        };
        Some(point.label())
    }

    /// Its arguments, without the result.
    pub fn arguments(&self) -> &[Argument] {
        match &self.body {
            Body::ProcessKprobe(body) => &body.args,
            Body::ProcessTracepoint(body) => &body.args,
            Body::ProcessUprobe(body) => &body.args,
            Body::ProcessLsm(body) => &body.args,
            Body::ProcessUsdt(body) => &body.args,
            _ => &[],
        }
    }

    /// Every argument, with the result and data, to change them.
    pub fn arguments_mut(&mut self) -> Box<dyn Iterator<Item = &mut Argument> + '_> {
        match &mut self.body {
            Body::ProcessKprobe(body) => {
                Box::new(body.args.iter_mut().chain(&mut body.return_value).chain(&mut body.data))
            }
            Body::ProcessTracepoint(body) => Box::new(body.args.iter_mut()),
            Body::ProcessUprobe(body) => Box::new(body.args.iter_mut().chain(&mut body.data)),
            Body::ProcessLsm(body) => Box::new(body.args.iter_mut()),
            Body::ProcessUsdt(body) => Box::new(body.args.iter_mut()),
            _ => Box::new(std::iter::empty()),
        }
    }
}
