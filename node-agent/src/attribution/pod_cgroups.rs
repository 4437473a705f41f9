//! The cgroups of pods, which have shares of the kernel's tables.

use std::collections::HashSet;

use super::Attribution;
use crate::cgroup::{Level, PodCgroups};

impl Attribution {
    /// Which of the cgroups that exist are pods', and in which there will be more.
    pub fn pod_cgroups(&self) -> PodCgroups {
        self.live().map(|(key, cgroup)| (key.id, cgroup.level)).collect()
    }

    /// The cgroups of pods, those included that were deleted and are remembered.
    pub fn remembered_pods(&self) -> HashSet<u64> {
        let pods = self.cgroups.iter().filter(|(_, cgroup)| cgroup.level == Level::Pod);
        pods.map(|(key, _)| key.id).collect()
    }
}
