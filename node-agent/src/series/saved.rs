//! The series beyond the agent's end: what was exported, together with the kernel's numbers that this was made of. The
//! next agent adds what the kernel has counted since, so it doesn't matter how old this is.

use std::borrow::Cow;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Entry, Gone, Held, Labels, Series};
use crate::attribution::CgroupKey;

/// As it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SavedSeries<'a> {
    /// Hook, cgroup, binary, the kernel's number.
    last: Vec<(u32, u64, u64, u64)>,
    /// Hook, cgroup and its generation, binary, events held back.
    held: Vec<(u32, u64, u32, u64, u64)>,
    #[serde(borrow)]
    exported: Vec<SavedEntry<'a>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedEntry<'a> {
    /// In the order of [`Labels`].
    #[serde(borrow)]
    labels: [Cow<'a, str>; 6],
    value: u64,
    #[serde(borrow)]
    pods: Vec<Cow<'a, str>>,
    gone: bool,
}

impl Series {
    /// What the next agent has to know.
    pub fn save(&self) -> SavedSeries<'_> {
        SavedSeries {
            last: self
                .last
                .iter()
                .map(|((hook, cgroup, binary), value)| (*hook, *cgroup, *binary, *value))
                .collect(),
            held: self
                .held
                .iter()
                .map(|(held, value)| (held.hook, held.cgroup.id, held.cgroup.generation, held.binary, *value))
                .collect(),
            exported: self
                .exported
                .iter()
                .map(|(l, entry)| SavedEntry {
                    labels: [&l.binary, &l.hook, &l.namespace, &l.pod, &l.policy, &l.workload]
                        .map(|label| Cow::Borrowed(&**label)),
                    value: entry.value,
                    pods: entry.pods.iter().map(|pod| Cow::Borrowed(&**pod)).collect(),
                    gone: entry.gone.is_some(),
                })
                .collect(),
        }
    }

    /// Goes on where an earlier agent was.
    pub fn restore(&mut self, saved: SavedSeries<'_>, now: Instant) {
        self.last = saved
            .last
            .into_iter()
            .map(|(hook, cgroup, binary, value)| ((hook, cgroup, binary), value))
            .collect();
        self.held = saved
            .held
            .into_iter()
            .map(|(hook, id, generation, binary, value)| {
                (Held { hook, cgroup: CgroupKey { id, generation }, binary }, value)
            })
            .collect();
        self.exported = saved
            .exported
            .into_iter()
            .map(|entry| {
                let [binary, hook, namespace, pod, policy, workload] = entry.labels.map(Into::into);
                let labels = Labels { binary, hook, namespace, pod, policy, workload };
                let gone = entry.gone.then_some(Gone { since: now, scraped: None });
                let pods = entry.pods.into_iter().map(Into::into).collect();
                (labels, Entry { value: entry.value, pods, gone })
            })
            .collect();
        self.count_series();
    }
}
