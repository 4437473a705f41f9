//! Assigns counts to pods.
//!
//! The kernel counts by cgroup. Cgroups become known by their paths, pods by their objects, in any order and
//! possibly after the counts; both are deleted while counts of theirs are still to be read. [`Attribution`] keeps what
//! is known of them and resolves a cgroup to its owner. It has no clock: the caller passes the time.

mod pod_cgroups;
mod saved;
mod scope;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    cgroup::{CgroupOwner, Level, level, resolve},
    pods::{Container, Pod},
};

pub use self::saved::SavedAttribution;
pub use self::scope::{Selection, selection, selects};

/// Time for a pod's object to follow its first cgroup.
pub const POD_GRACE: Duration = Duration::from_mins(1);

/// Time for which cgroups and pods are remembered after their deletion, so that counts which are read late get their
/// names.
pub const REMEMBERED: Duration = Duration::from_mins(10);

/// How many deleted cgroups of a pod are remembered, the last ones; and of the host.
pub const REMEMBERED_EACH: usize = 256;

/// The owner of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Not known yet: its path isn't, or its pod isn't.
    Pending,
    /// The host.
    Host,
    /// A pod.
    Container {
        /// The pod, with the labels that it has now (or had last).
        pod: Arc<Pod>,
        /// The container.
        container: ContainerState,
    },
    /// A pod whose object did not come in time.
    Unlisted {
        /// Its uid, from the cgroup's path.
        uid: Arc<str>,
    },
}

/// The container of a known pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// This one.
    Named(Container),
    /// The pod's status doesn't name the container's id yet.
    Awaited,
    /// None that the pod's status names: its sandbox, a helper of the runtime, or the pod's own cgroup.
    Unnamed,
}

impl Owner {
    /// The pod's uid.
    pub fn uid(&self) -> Option<&str> {
        match self {
            Self::Container { pod, .. } => Some(&pod.uid),
            Self::Unlisted { uid } => Some(uid),
            Self::Pending | Self::Host => None,
        }
    }

    /// The container's name, where it is known.
    pub fn container_name(&self) -> Option<&str> {
        match self {
            Self::Container { container: ContainerState::Named(container), .. } => Some(&container.name),
            _ => None,
        }
    }
}

/// A cgroup, distinguished from every other one that has or had its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupKey {
    /// The kernel's id.
    pub id: u64,
    /// The number of cgroups that had this id before.
    pub generation: u32,
}

/// The cgroups that [`Attribution::forget`] removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// The cgroups.
    pub cgroups: Vec<CgroupKey>,
    /// Ids that no remembered cgroup has any more: the kernel's counts of these can be deleted.
    pub ids: Vec<u64>,
}

/// The cgroups and pods that are known.
#[derive(Debug)]
pub struct Attribution {
    grace: Duration,
    cgroups: BTreeMap<CgroupKey, Cgroup>,
    pods: HashMap<Arc<str>, KnownPod>,
    /// Since when pods aren't known as they are, if so.
    stopped: Option<Instant>,
}

#[derive(Debug)]
struct Cgroup {
    path: String,
    level: Level,
    owner: Place,
    since: Instant,
    removed: Option<Instant>,
}

/// [`CgroupOwner`], with what is needed of it in shareable form.
#[derive(Debug)]
enum Place {
    Host,
    Pod { uid: Arc<str>, container: Option<String> },
}

#[derive(Debug)]
struct KnownPod {
    pod: Arc<Pod>,
    gone: Option<Instant>,
}

impl Attribution {
    /// Knows nothing yet. A cgroup whose pod is still unknown after `grace` is [`Owner::Unlisted`], and a container
    /// that its pod's status doesn't name by then is [`ContainerState::Unnamed`].
    pub fn new(grace: Duration) -> Self {
        Self { grace, cgroups: BTreeMap::new(), pods: HashMap::new(), stopped: None }
    }

    /// Learns of a cgroup: its id, and its path from the root of the hierarchy.
    ///
    /// Where the id belonged to a cgroup with another path, or to one that was removed, this is a new one, which
    /// gets nothing of the earlier one's: fold the counts of the id *before* this call. (Ids of 64 bits don't come
    /// back in practice; kernels before 5.5 number cgroups with 32.)
    pub fn add_cgroup(&mut self, id: u64, path: &str, now: Instant) {
        let generation = match self.latest(id) {
            Some((_, known)) if known.removed.is_none() && known.path == path => return,
            Some((key, _)) => key.generation.wrapping_add(1),
            None => 0,
        };
        self.remove_cgroup(id, now);
        let cgroup = self.cgroup(path.to_owned(), now, None);
        self.cgroups.insert(CgroupKey { id, generation }, cgroup);
    }

    fn cgroup(&self, path: String, since: Instant, removed: Option<Instant>) -> Cgroup {
        let owner = match resolve(&path) {
            CgroupOwner::Host => Place::Host,
            CgroupOwner::Pod { uid, container, .. } => {
                let uid = self
                    .pods
                    .get_key_value(uid.as_str())
                    .map_or_else(|| uid.as_str().into(), |(k, _)| k.clone());
                Place::Pod { uid, container: container.map(|id| id.0) }
            }
        };
        Cgroup { level: level(&path), path, owner, since, removed }
    }

    /// A cgroup was removed. Counts of it may still be unread, so it is remembered until [`forget`](Self::forget).
    pub fn remove_cgroup(&mut self, id: u64, now: Instant) {
        let key = self.key(id);
        if let Some(cgroup) = self.cgroups.get_mut(&key) {
            cgroup.removed.get_or_insert(now);
        }
    }

    /// Takes these as all the pods that exist. Known pods that are not among them were deleted, and are
    /// remembered for counts that come late.
    pub fn set_pods(&mut self, pods: Vec<Pod>, now: Instant) {
        let mut mirrors = Vec::new();
        let mut listed: HashSet<String> = HashSet::new();
        for pod in pods {
            if pod.mirror {
                mirrors.push(pod);
            } else if listed.insert(pod.uid.clone()) {
                self.apply_pod(pod);
            }
        }
        for pod in mirrors {
            if listed.insert(pod.uid.clone()) {
                self.apply_pod(pod);
            }
        }
        for (uid, known) in &mut self.pods {
            if !listed.contains(&**uid) {
                known.gone.get_or_insert(now);
            }
        }
    }

    /// A pod was made or has changed.
    ///
    /// A mirror pod doesn't take the uid of another pod: its uid is an annotation, which its author chose.
    pub fn apply_pod(&mut self, mut pod: Pod) {
        let Some(known) = self.pods.get_mut(pod.uid.as_str()) else {
            self.pods.insert(pod.uid.as_str().into(), KnownPod { pod: Arc::new(pod), gone: None });
            return;
        };
        if pod.mirror && !known.pod.mirror {
            return;
        }
        known.gone = None;
        // A status names the last two runs of a container. Earlier ones keep their names while their cgroups are
        // remembered.
        let named = |id: &str| pod.containers.iter().any(|c| c.id.as_deref() == Some(id));
        let mut earlier = known.pod.containers.clone();
        earlier.retain(|c| {
            c.id.as_deref().is_some_and(|id| {
                !named(id) && self.cgroups.values().any(|cgroup| cgroup.container() == Some(id))
            })
        });
        pod.containers.extend(earlier);
        if *known.pod != pod {
            known.pod = Arc::new(pod);
        }
    }

    /// Whether this pod is known with other labels, so that its events so far must be counted under these first.
    pub fn relabels(&self, pod: &Pod) -> bool {
        self.pods
            .get(pod.uid.as_str())
            .is_some_and(|known| known.pod.labels != pod.labels && (known.pod.mirror || !pod.mirror))
    }

    /// A pod was deleted; it is remembered for counts that come late.
    pub fn delete_pod(&mut self, uid: &str, now: Instant) {
        if let Some(known) = self.pods.get_mut(uid) {
            known.gone.get_or_insert(now);
        }
    }

    /// Sets whether the pods are up to date. While they are not, the grace period of unknown pods is paused, because their
    /// objects may exist. Returns whether the state has changed.
    pub fn set_current(&mut self, current: bool, now: Instant) -> bool {
        match self.stopped {
            None if !current => self.stopped = Some(now),
            Some(stopped) if current => {
                self.stopped = None;
                for cgroup in self.cgroups.values_mut() {
                    let used = stopped.saturating_duration_since(cgroup.since);
                    if used < self.grace {
                        cgroup.since = now.checked_sub(used).unwrap_or(now);
                    }
                }
            }
            None | Some(_) => return false,
        }
        true
    }

    /// The owner of the cgroup that has this id now.
    pub fn owner_of_id(&self, id: u64, now: Instant) -> Owner {
        self.owner(self.key(id), now)
    }

    /// The present or last owner of this cgroup.
    pub fn owner(&self, key: CgroupKey, now: Instant) -> Owner {
        let Some(cgroup) = self.cgroups.get(&key) else {
            return Owner::Pending;
        };
        let Place::Pod { uid, container } = &cgroup.owner else {
            return Owner::Host;
        };
        let now = self.stopped.unwrap_or(now);
        let waiting = now.saturating_duration_since(cgroup.since) < self.grace;
        match self.pods.get(uid) {
            None if waiting => Owner::Pending,
            None => Owner::Unlisted { uid: Arc::clone(uid) },
            Some(known) => {
                let pod = Arc::clone(&known.pod);
                let container = match container {
                    None => ContainerState::Unnamed,
                    Some(id) => match pod.containers.iter().find(|c| c.id.as_deref() == Some(id)) {
                        Some(container) => ContainerState::Named(container.clone()),
                        None if waiting => ContainerState::Awaited,
                        None => ContainerState::Unnamed,
                    },
                };
                Owner::Container { pod, container }
            }
        }
    }

    /// The cgroup that has this id now, known or not.
    pub fn key(&self, id: u64) -> CgroupKey {
        self.latest(id).map_or(CgroupKey { id, generation: 0 }, |(key, _)| key)
    }

    /// Whether a cgroup of this id is known.
    pub fn knows(&self, id: u64) -> bool {
        self.latest(id).is_some()
    }

    /// All cgroups that exist, and their owners; but for those below containers', which belong to these in the kernel.
    pub fn cgroups(&self, now: Instant) -> impl Iterator<Item = (u64, Owner)> + '_ {
        let named = self.live().filter(|(_, cgroup)| cgroup.level != Level::Nested);
        named.map(move |(key, _)| (key.id, self.owner(*key, now)))
    }

    /// All cgroups that exist or are remembered, with their owners; of an id the last one comes last.
    pub fn all_cgroups(&self, now: Instant) -> impl Iterator<Item = (u64, Owner)> + '_ {
        self.cgroups.keys().map(move |key| (key.id, self.owner(*key, now)))
    }

    fn live(&self) -> impl Iterator<Item = (&CgroupKey, &Cgroup)> {
        self.cgroups.iter().filter(|(_, cgroup)| cgroup.removed.is_none())
    }

    /// The path of a container's cgroup that exists, from the root of the hierarchy.
    pub fn container_path(&self, id: u64) -> Option<&str> {
        let (_, cgroup) = self.latest(id)?;
        let is_container = cgroup.level == Level::Container && cgroup.removed.is_none();
        is_container.then_some(cgroup.path.as_str())
    }

    /// Whether the pod exists; for a pod without an object: whether a cgroup of it exists.
    pub fn pod_exists(&self, uid: &str) -> bool {
        match self.pods.get(uid) {
            Some(known) => known.gone.is_none(),
            None => self
                .cgroups
                .values()
                .any(|c| c.removed.is_none() && matches!(&c.owner, Place::Pod { uid: u, .. } if **u == *uid)),
        }
    }

    /// Removes cgroups and pods that were deleted longer ago than `keep`; of those whose owner isn't known, the grace if that
    /// is longer: counts that wait for their pod are assigned first. Of each pod, and of the host, no more are remembered
    /// than [`REMEMBERED_EACH`]: call it when the counts were read and folded.
    pub fn forget(&mut self, keep: Duration, now: Instant) -> Forgotten {
        // Counts of a pod that isn't known wait, however long nothing is heard of pods.
        let awaited = |cgroup: &Cgroup| {
            self.stopped.is_some() && cgroup.uid().is_some_and(|uid| !self.pods.contains_key(uid))
        };
        let over = |at: Option<Instant>, keep| at.is_some_and(|at| now.saturating_duration_since(at) > keep);
        let mut of_each: HashMap<Option<&str>, Vec<(Instant, CgroupKey)>> = HashMap::new();
        let mut cgroups = Vec::new();
        for (key, cgroup) in &self.cgroups {
            let Some(removed) = cgroup.removed.filter(|_| !awaited(cgroup)) else { continue };
            let waits = matches!(self.owner(*key, now), Owner::Pending | Owner::Unlisted { .. });
            if over(cgroup.removed, if waits { keep.max(self.grace) } else { keep }) {
                cgroups.push(*key);
            } else {
                of_each.entry(cgroup.uid()).or_default().push((removed, *key));
            }
        }
        for mut remembered in of_each.into_values() {
            remembered.sort_unstable();
            let surplus = remembered.len().saturating_sub(REMEMBERED_EACH);
            cgroups.extend(remembered[..surplus].iter().map(|(_, key)| *key));
        }
        cgroups.sort_unstable();
        for key in &cgroups {
            self.cgroups.remove(key);
        }
        let wanted: HashSet<&str> = self.cgroups.values().filter_map(Cgroup::uid).collect();
        self.pods.retain(|uid, known| !over(known.gone, keep.max(self.grace)) || wanted.contains(&**uid));
        let mut ids: Vec<_> = cgroups.iter().map(|key| key.id).filter(|id| !self.knows(*id)).collect();
        ids.dedup();
        Forgotten { cgroups, ids }
    }

    fn latest(&self, id: u64) -> Option<(CgroupKey, &Cgroup)> {
        let all = CgroupKey { id, generation: 0 }..=CgroupKey { id, generation: u32::MAX };
        self.cgroups.range(all).next_back().map(|(key, cgroup)| (*key, cgroup))
    }
}

impl Cgroup {
    fn uid(&self) -> Option<&str> {
        match &self.owner {
            Place::Host => None,
            Place::Pod { uid, .. } => Some(uid),
        }
    }

    fn container(&self) -> Option<&str> {
        match &self.owner {
            Place::Pod { container, .. } => container.as_deref(),
            Place::Host => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
