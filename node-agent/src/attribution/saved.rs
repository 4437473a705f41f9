//! Cgroups and pods, saved for the next agent: counts of deleted ones may still be unread.

use std::{sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};

use super::{Attribution, CgroupKey, KnownPod};
use crate::pods::Pod;

/// As it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SavedAttribution {
    cgroups: Vec<SavedCgroup>,
    pods: Vec<SavedPod>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedCgroup {
    id: u64,
    generation: u32,
    path: String,
    removed: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedPod {
    pod: Pod,
    gone: bool,
}

impl Attribution {
    /// What the next agent has to know.
    pub fn save(&self) -> SavedAttribution {
        SavedAttribution {
            cgroups: self
                .cgroups
                .iter()
                .map(|(key, cgroup)| SavedCgroup {
                    id: key.id,
                    generation: key.generation,
                    path: cgroup.path.clone(),
                    removed: cgroup.removed.is_some(),
                })
                .collect(),
            pods: self
                .pods
                .values()
                .map(|known| SavedPod { pod: (*known.pod).clone(), gone: known.gone.is_some() })
                .collect(),
        }
    }

    /// Continues where an earlier agent stopped. Deleted pods and cgroups are remembered from now on.
    pub fn restore(&mut self, saved: SavedAttribution, now: Instant) {
        for SavedPod { pod, gone } in saved.pods {
            let uid: Arc<str> = pod.uid.as_str().into();
            self.pods.insert(uid, KnownPod { pod: Arc::new(pod), gone: gone.then_some(now) });
        }
        for SavedCgroup { id, generation, path, removed } in saved.cgroups {
            let cgroup = self.cgroup(path, now, removed.then_some(now));
            self.cgroups.insert(CgroupKey { id, generation }, cgroup);
        }
    }

    /// The cgroups that exist: known ones that are not among them were removed while no agent ran.
    pub fn only_cgroups(&mut self, exist: impl Fn(u64) -> bool, now: Instant) {
        for (key, cgroup) in &mut self.cgroups {
            if !exist(key.id) {
                cgroup.removed.get_or_insert(now);
            }
        }
    }
}
