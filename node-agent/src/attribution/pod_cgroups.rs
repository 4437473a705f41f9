//! The cgroups of pods, which have shares of the kernel's tables.

use std::collections::HashSet;

use super::Attribution;
use crate::cgroup::{Level, PodCgroups};

impl Attribution {
    /// Which of the cgroups that exist are pods', and in which there will be more.
    pub fn pod_cgroups(&self) -> PodCgroups {
        let mut found = PodCgroups::default();
        for (key, cgroup) in self.live() {
            match cgroup.level {
                Level::Pod => found.pods.push(key.id),
                Level::PodParent { shortest } => found.parents.push((key.id, shortest)),
                Level::Host | Level::Container | Level::Nested => {}
            }
        }
        found
    }

    /// The cgroups of pods, those included that were deleted and are remembered.
    pub fn remembered_pods(&self) -> HashSet<u64> {
        let pods = self.cgroups.iter().filter(|(_, cgroup)| cgroup.level == Level::Pod);
        pods.map(|(key, _)| key.id).collect()
    }
}
