//! Which records are exported: `--export-allowlist` and `--export-denylist`, with the fields and meanings of Tetragon's
//! `Filter`. Each line is one filter as a JSON object. The fields of one filter must all hold; of a field's values, one
//! must hold.

mod labels;
mod parse;

use regex::Regex;
use thiserror::Error;

use self::labels::LabelFilter;
pub(crate) use self::parse::{kinds, pattern, snake_case};
use crate::{
    bits::CapabilitySet,
    event::{Event, Kind},
    process::{PodStatus, Process},
};

/// A filter that cannot be used.
#[derive(Debug, Error)]
#[error("filter {number}: {reason}")]
pub struct FilterError {
    /// Which filter of the list, from 1.
    pub number: usize,
    /// What is wrong, and the fix.
    pub reason: String,
}

/// The lists of filters of an export.
#[derive(Debug, Default)]
pub struct Filters {
    allow: Vec<Filter>,
    deny: Vec<Filter>,
}

impl Filters {
    /// Reads both lists. An empty text is an empty list.
    pub fn parse(allow: &str, deny: &str) -> Result<Self, FilterError> {
        Ok(Self { allow: parse::list(allow)?, deny: parse::list(deny)? })
    }

    /// Whether a record is exported: a filter of the allow list matches it, or that list is empty; and no filter of the
    /// deny list matches it.
    pub fn pass(&self, event: &Event) -> bool {
        (self.allow.is_empty() || self.allow.iter().any(|filter| filter.matches(event)))
            && !self.deny.iter().any(|filter| filter.matches(event))
    }

    /// Whether every record passes.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

/// One filter: conditions that must all hold.
#[derive(Debug, Default)]
struct Filter {
    conditions: Vec<Condition>,
}

impl Filter {
    fn matches(&self, event: &Event) -> bool {
        self.conditions.iter().all(|condition| condition.holds(event))
    }
}

/// Whose field it is.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Process,
    Parent,
    Ancestors,
}

/// A text of a process.
#[derive(Debug, Clone, Copy)]
enum Text {
    Binary,
    Arguments,
    Namespace,
    Pod,
    ContainerId,
    ContainerName,
}

#[derive(Debug)]
enum Condition {
    Matches(Whose, Text, Vec<Regex>),
    Namespace(Vec<String>),
    PodStatus(Vec<PodStatus>),
    HealthCheck(bool),
    Pid(Vec<u32>),
    Kind(Vec<Kind>),
    Labels(Vec<LabelFilter>),
    PolicyNames(Vec<String>),
    InInitTree(bool),
    Capabilities(Which, Quantity, CapabilitySet),
}

#[derive(Debug, Clone, Copy)]
enum Which {
    Permitted,
    Effective,
    Inheritable,
}

#[derive(Debug, Clone, Copy)]
enum Quantity {
    Any,
    All,
    Exactly,
    None,
}

impl Condition {
    fn holds(&self, event: &Event) -> bool {
        if let Self::Kind(kinds) = self {
            return kinds.contains(&event.kind());
        }
        // As in Tetragon, nothing else holds for a record without a process.
        let Some(processes) = event.processes() else { return false };
        let process = &processes.process;
        match self {
            Self::Kind(_) => false,
            Self::Matches(whose, text, patterns) => {
                let of = |process: &Process| {
                    text.of(process).is_some_and(|text| patterns.iter().any(|pattern| pattern.is_match(text)))
                };
                match whose {
                    Whose::Process => of(process),
                    Whose::Parent => processes.parent.as_deref().is_some_and(of),
                    Whose::Ancestors => processes.ancestors.iter().any(of),
                }
            }
            Self::Namespace(wanted) => match &process.pod {
                Some(pod) => wanted.contains(&pod.namespace),
                // "" is a process of the host. One whose pod is not known is no process of the host. A record of
                // Tetragon does not tell them apart.
                None => process.pod_status != PodStatus::Unresolved && wanted.iter().any(String::is_empty),
            },
            Self::PodStatus(wanted) => {
                let status = match (&process.pod, process.pod_status) {
                    (None, PodStatus::Unspecified) => PodStatus::Host,
                    (_, status) => status,
                };
                wanted.contains(&status)
            }
            Self::HealthCheck(wanted) => {
                let parent = processes.parent.as_deref();
                (is_probe(process) || parent.is_some_and(is_probe)) == *wanted
            }
            Self::Pid(wanted) => process.pid.is_some_and(|pid| wanted.contains(&pid)),
            Self::Labels(wanted) => process
                .pod
                .as_ref()
                .is_some_and(|pod| wanted.iter().any(|selector| selector.matches(&pod.pod_labels))),
            Self::PolicyNames(wanted) => {
                event.matched().is_some_and(|matched| wanted.contains(&matched.policy_name))
            }
            Self::InInitTree(wanted) => process.in_init_tree == Some(*wanted),
            Self::Capabilities(which, quantity, wanted) => process.cap.is_some_and(|sets| {
                let set = match which {
                    Which::Permitted => sets.permitted,
                    Which::Effective => sets.effective,
                    Which::Inheritable => sets.inheritable,
                };
                let common = set.bits() & wanted.bits();
                match quantity {
                    Quantity::Any => common != 0,
                    Quantity::All => common == wanted.bits(),
                    Quantity::Exactly => set == *wanted,
                    Quantity::None => common == 0,
                }
            }),
        }
    }
}

impl Text {
    fn of(self, process: &Process) -> Option<&str> {
        let pod = process.pod.as_deref();
        let container = pod.and_then(|pod| pod.container.as_deref());
        match self {
            Self::Binary => Some(&process.binary),
            Self::Arguments => Some(&process.arguments),
            // As for `namespace`: "" is the host.
            Self::Namespace => match pod {
                Some(pod) => Some(&pod.namespace),
                None => (process.pod_status != PodStatus::Unresolved).then_some(""),
            },
            Self::Pod => pod.map(|pod| pod.name.as_str()),
            Self::ContainerId => Some(&process.docker),
            Self::ContainerName => container.map(|container| container.name.as_str()),
        }
    }
}

fn is_probe(process: &Process) -> bool {
    let container = process.pod.as_ref().and_then(|pod| pod.container.as_deref());
    container.is_some_and(|container| container.maybe_exec_probe)
}

#[cfg(test)]
mod tests;
