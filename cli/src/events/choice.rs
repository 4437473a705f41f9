//! Which records are shown.

use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

use clap::ValueEnum;
use gatewatch_events::{Event, Kind, Timestamp, process::PodStatus};

use super::Events;

/// A type of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Type {
    /// A process executed a program
    Exec,
    /// A process ended
    Exit,
    /// A kernel function was called
    Kprobe,
    /// A tracepoint was passed
    Tracepoint,
    /// A hook of the security modules was called
    Lsm,
    /// A function of a user program was called
    Uprobe,
    /// A static probe of a user program was passed
    Usdt,
    /// A program or library was mapped
    Loader,
}

impl Type {
    fn kind(self) -> Kind {
        match self {
            Self::Exec => Kind::Exec,
            Self::Exit => Kind::Exit,
            Self::Kprobe => Kind::Kprobe,
            Self::Tracepoint => Kind::Tracepoint,
            Self::Lsm => Kind::Lsm,
            Self::Uprobe => Kind::Uprobe,
            Self::Usdt => Kind::Usdt,
            Self::Loader => Kind::Loader,
        }
    }
}

/// The earliest time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    Time(Timestamp),
    Ago(Duration),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(time) = Timestamp::parse(text) {
            return Ok(Self::Time(time));
        }
        humantime::parse_duration(text)
            .map(Self::Ago)
            .map_err(|_| "expected a time such as 2026-01-02T03:04:05Z, or a duration such as 10m".to_owned())
    }
}

/// The conditions, which must all hold.
pub(super) struct Choice<'a> {
    arguments: &'a Events,
    since: Option<Timestamp>,
}

impl<'a> Choice<'a> {
    pub(super) fn new(arguments: &'a Events, now: SystemTime) -> Self {
        let since = arguments.since.map(|since| match since {
            Since::Time(time) => time,
            Since::Ago(duration) => {
                let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                Timestamp(i64::try_from(now.saturating_sub(duration).as_nanos()).unwrap_or(i64::MAX))
            }
        });
        Self { arguments, since }
    }

    pub(super) fn takes(&self, event: &Event) -> bool {
        // The notice that records were lost is never left out.
        if event.kind() == Kind::RateLimitInfo {
            return true;
        }
        let Events { policy, namespace, pod, host, binary, types, .. } = self.arguments;
        let process = event.process();
        let in_pod = process.and_then(|process| process.pod.as_deref());
        let any = |wanted: &[String], holds: &dyn Fn(&String) -> bool| {
            wanted.is_empty() || wanted.iter().any(holds)
        };
        any(policy, &|name| event.matched().is_some_and(|matched| matched.policy_name == *name))
            && any(namespace, &|name| in_pod.is_some_and(|pod| pod.namespace == *name))
            && any(pod, &|name| in_pod.is_some_and(|pod| pod.name.starts_with(name.as_str())))
            && (!host
                || process.is_some_and(|process| {
                    process.pod.is_none() && process.pod_status != PodStatus::Unresolved
                }))
            && any(binary, &|name| {
                process.is_some_and(|process| {
                    process.binary == *name || process.binary.rsplit('/').next() == Some(name.as_str())
                })
            })
            && (types.is_empty() || types.iter().any(|wanted| wanted.kind() == event.kind()))
            && self.since.is_none_or(|since| event.time.is_none_or(|time| time >= since))
    }
}
