//! The series beyond the agent's end: what was exported, together with the kernel's numbers that this was made of. The
//! next agent adds what the kernel has counted since, so it doesn't matter how old this is.
//!
//! It is written from where it is: a model of it in between would take more memory than all else that the agent has.

use std::{iter::repeat, time::Instant};

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct as _};

use super::{
    Held, Series, Waiting,
    entry::{Entry, Key},
    names::Name,
};
use crate::attribution::CgroupKey;

/// Writes the series down.
#[derive(Debug)]
pub struct SavingSeries<'a>(&'a Series);

/// As they are read.
#[derive(Debug, Default, Deserialize)]
pub struct SavedSeries {
    /// Hook, cgroup, binary, the kernel's number.
    last: Vec<(u32, u64, u64, u64)>,
    /// Hook, cgroup and its generation, binary, events held back.
    held: Vec<(u32, u64, u32, u64, u64)>,
    /// What the numbers of labels and pods stand for.
    names: Vec<String>,
    exported: Vec<SavedEntry>,
    /// When each of these grew last. Earlier agents have not saved it.
    #[serde(default)]
    grown: Vec<u64>,
    /// When each of what is held back grew last.
    #[serde(default)]
    held_grown: Vec<u64>,
}

/// Labels in the order in which they are exported, value, uids of pods, whether all of these were deleted.
type SavedEntry = ([u32; 6], u64, Vec<u32>, bool);

/// An iterator as a sequence.
struct Sequence<F>(F);

impl<I: Iterator<Item: Serialize>, F: Fn() -> I> Serialize for Sequence<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

impl Serialize for SavingSeries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let series = self.0;
        let mut fields = serializer.serialize_struct("SavedSeries", 6)?;
        fields.serialize_field(
            "last",
            &Sequence(|| {
                series.last.iter().map(|((hook, cgroup, binary), value)| (*hook, *cgroup, *binary, *value))
            }),
        )?;
        fields.serialize_field(
            "held",
            &Sequence(|| {
                series.held.iter().map(|(held, waiting)| {
                    (held.hook, held.cgroup.id, held.cgroup.generation, held.binary, waiting.events)
                })
            }),
        )?;
        fields.serialize_field("names", &Sequence(|| series.names.texts()))?;
        fields.serialize_field(
            "exported",
            &Sequence(|| {
                series.exported.iter().map(|(key, entry)| {
                    let pods: Vec<u32> = entry.pods().map(|uid| uid.0).collect();
                    (key.names().map(|name| name.0), entry.value, pods, entry.is_gone())
                })
            }),
        )?;
        // In the order of the above: neither map changes meanwhile.
        fields.serialize_field("grown", &Sequence(|| series.exported.values().map(|entry| entry.grown)))?;
        fields
            .serialize_field("held_grown", &Sequence(|| series.held.values().map(|waiting| waiting.grown)))?;
        fields.end()
    }
}

impl Series {
    /// What the next agent has to know.
    pub fn save(&self) -> SavingSeries<'_> {
        SavingSeries(self)
    }

    /// Continues where an earlier agent stopped.
    pub fn restore(&mut self, saved: SavedSeries, now: Instant) {
        let SavedSeries { last, held, names, exported, grown, held_grown } = saved;
        self.newest = grown.iter().chain(&held_grown).copied().max().unwrap_or(0);
        self.last =
            last.into_iter().map(|(hook, cgroup, binary, value)| ((hook, cgroup, binary), value)).collect();
        self.held = held
            .into_iter()
            .zip(held_grown.into_iter().chain(repeat(0)))
            .map(|((hook, id, generation, binary, events), grown)| {
                (Held { hook, cgroup: CgroupKey { id, generation }, binary }, Waiting { events, grown })
            })
            .collect();
        let names: Vec<Name> = names.iter().map(|text| self.names.name(text)).collect();
        let empty = self.names.name("");
        let name = |number: u32| names.get(number as usize).copied().unwrap_or(empty);
        self.exported = exported
            .into_iter()
            .zip(grown.into_iter().chain(repeat(0)))
            .map(|((labels, value, pods, gone), grown)| {
                let mut entry = Entry::new(value, grown);
                for uid in pods {
                    entry.add_pod(name(uid));
                }
                if gone {
                    entry.set_gone(now);
                }
                (Key::new(labels.map(name)), entry)
            })
            .collect();
        self.count_series();
        self.keep_names();
    }
}
