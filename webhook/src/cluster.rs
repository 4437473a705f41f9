//! What is known of the cluster, in one place: written by the watches, read by decisions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use gatewatch_coverage::{Index, IndexedPolicy, PolicyId, Workload};
use gatewatch_crds::NodeTracingStatus;
use gatewatch_kernel::Profile;
use gatewatch_policy::assess::Checked;
use gatewatch_policy::diagnostic::Diagnostic;
use gatewatch_policy::model::Policy;
use gatewatch_policy::source::{self, Document};
use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::Notify;

use crate::caches::follow::{Change, Name};
use crate::caches::{Cache, Health};
use crate::kernels::{self, Kernels, Node, Reported, Shipped};
use crate::modes::Modes;

/// A policy of the cluster.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Which it is.
    pub id: PolicyId,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// What it says, and what is wrong with it by itself.
    pub checked: Checked,
}

impl Stored {
    /// Of an object as the API server has it. `None` where it can't be read as a policy at all.
    pub fn read(object: &Value) -> Option<Self> {
        Self::examine(&Document::from_json(object)).ok()
    }

    /// The same, or else what is to be said of the object.
    pub fn examine(object: &Document) -> Result<Self, Vec<Diagnostic>> {
        let checked = Checked::of(object)?;
        let metadata = |name| object.root.get("metadata")?.get(name);
        Ok(Self {
            id: PolicyId::of(&checked.policy, "default"),
            uid: metadata("uid").and_then(source::Node::as_str).unwrap_or_default().to_owned(),
            generation: match metadata("generation").map(|node| &node.value) {
                Some(source::Value::Int(n)) => i64::try_from(*n).ok(),
                _ => None,
            },
            checked,
        })
    }

    /// What it says.
    pub const fn policy(&self) -> &Policy {
        &self.checked.policy
    }
}

/// What an agent says of its node.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its kernel.
    pub kernel: Reported,
    /// Its policies.
    pub status: NodeTracingStatus,
}

/// Everything that is known.
#[derive(Debug)]
pub struct Cluster {
    index: RwLock<Index>,
    policies: RwLock<BTreeMap<PolicyId, Arc<Stored>>>,
    nodes: RwLock<BTreeMap<String, Node>>,
    agents: RwLock<BTreeMap<String, Agent>>,
    kernels: ArcSwap<Kernels>,
    shipped: Shipped,
    modes: ArcSwap<Modes>,
    /// Whether the table that is in force isn't the one in the `ConfigMap`, because that can't be used.
    pub modes_refused: AtomicBool,
    health: BTreeMap<Cache, Health>,
    /// Whether this replica holds the Lease.
    pub leads: AtomicBool,
    /// Counts changes of whatever coverage depends on.
    version: AtomicU64,
    kernels_changed: Notify,
    caveat_said: AtomicBool,
}

impl Default for Cluster {
    fn default() -> Self {
        let shipped = kernels::shipped();
        let kernels = Kernels::new(&BTreeMap::new(), &BTreeMap::new(), &BTreeMap::new(), &shipped);
        Self {
            index: RwLock::default(),
            policies: RwLock::default(),
            nodes: RwLock::default(),
            agents: RwLock::default(),
            kernels: ArcSwap::from_pointee(kernels),
            shipped,
            modes: ArcSwap::default(),
            modes_refused: AtomicBool::new(false),
            health: Cache::ALL.into_iter().map(|cache| (cache, Health::default())).collect(),
            leads: AtomicBool::new(false),
            version: AtomicU64::new(0),
            kernels_changed: Notify::new(),
            caveat_said: AtomicBool::new(false),
        }
    }
}

impl Cluster {
    /// Asks the index; it stands still meanwhile.
    pub fn ask<T>(&self, question: impl FnOnce(&Index) -> T) -> T {
        question(&self.index.read())
    }

    /// The table in force.
    pub fn modes(&self) -> Arc<Modes> {
        self.modes.load_full()
    }

    /// Puts a table in force.
    pub fn set_modes(&self, modes: Modes) {
        self.modes.store(Arc::new(modes));
        self.touch();
    }

    /// The kernels as they are known now.
    pub fn kernels(&self) -> Arc<Kernels> {
        self.kernels.load_full()
    }

    /// All policies.
    pub fn policies(&self) -> Vec<Arc<Stored>> {
        self.policies.read().values().cloned().collect()
    }

    /// The nodes.
    pub fn nodes(&self) -> BTreeMap<String, Node> {
        self.nodes.read().clone()
    }

    /// What agents say, by node.
    pub fn agents(&self) -> BTreeMap<String, Agent> {
        self.agents.read().clone()
    }

    /// How a cache is.
    pub fn health(&self, cache: Cache) -> &Health {
        // Every cache has one; where it hadn't, nothing would ever be synced.
        static NONE: std::sync::LazyLock<Health> = std::sync::LazyLock::new(Health::default);
        self.health.get(&cache).unwrap_or(&NONE)
    }

    /// The caches that have not been filled yet.
    pub fn unsynced(&self) -> Vec<Cache> {
        let unsynced = |(_, health): &(&Cache, &Health)| !health.synced();
        self.health.iter().filter(unsynced).map(|(cache, _)| *cache).collect()
    }

    /// Says that every cache is as full as it will be, for a cluster that no watch fills.
    pub fn assume_synced(&self) {
        self.health.values().for_each(Health::assume_synced);
    }

    /// A number that is another one after every change that coverage depends on.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn touch(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends when nodes or agents have changed since it ended last.
    pub async fn kernels_changed(&self) {
        self.kernels_changed.notified().await;
    }

    /// Policies have changed. `namespaced` is which of the two kinds.
    pub fn policies_changed(&self, change: Change<Stored>, namespaced: bool) {
        let mut policies = self.policies.write();
        let mut index = self.index.write();
        match change {
            Change::Apply(stored) => {
                index.apply_policy(IndexedPolicy::new(stored.policy(), "default"));
                policies.insert(stored.id.clone(), Arc::new(stored));
            }
            Change::Delete(Name { namespace, name }) => {
                let id = PolicyId { namespace: namespaced.then_some(namespace), name };
                index.delete_policy(&id);
                policies.remove(&id);
            }
            Change::Reset(all) => {
                policies.retain(|id, _| id.namespace.is_some() != namespaced);
                policies.extend(all.into_iter().map(|stored| (stored.id.clone(), Arc::new(stored))));
                let watches: Vec<IndexedPolicy> =
                    policies.values().map(|stored| IndexedPolicy::new(stored.policy(), "default")).collect();
                index.reset_policies(watches);
            }
        }
        self.touch();
    }

    /// Pods or objects with templates have changed.
    pub fn workloads_changed(&self, change: Change<Workload>, kind: Cache) {
        let mut index = self.index.write();
        match change {
            Change::Apply(workload) => index.apply_workload(&workload),
            Change::Delete(Name { namespace, name }) => index.delete_workload(kind.name(), &namespace, &name),
            Change::Reset(all) => index.reset_workloads(kind.name(), &all),
        }
        self.touch();
    }

    /// Namespaces have changed: names and annotations.
    pub fn namespaces_changed(&self, change: Change<(String, BTreeMap<String, String>)>) {
        let mut index = self.index.write();
        match change {
            Change::Apply((name, annotations)) => index.apply_namespace(&name, &annotations),
            Change::Delete(Name { name, .. }) => index.delete_namespace(&name),
            Change::Reset(all) => {
                index.reset_namespaces(all.iter().map(|(name, annotations)| (name.as_str(), annotations)));
            }
        }
        self.touch();
    }

    /// Nodes have changed.
    pub fn nodes_changed(&self, change: Change<(String, Node)>) {
        if update(&mut self.nodes.write(), change) {
            self.kernels_changed.notify_one();
            self.touch();
        }
    }

    /// Agents have something else to say.
    pub fn agents_changed(&self, change: Change<(String, Agent)>) {
        let mut agents = self.agents.write();
        match change {
            Change::Apply((name, agent)) => drop(agents.insert(name, agent)),
            Change::Delete(Name { name, .. }) => drop(agents.remove(&name)),
            Change::Reset(all) => *agents = all.into_iter().collect(),
        }
        drop(agents);
        self.kernels_changed.notify_one();
        self.touch();
    }

    /// Puts the kernels together anew, with the profiles that were fetched.
    pub fn rebuild_kernels(&self, profiles: &BTreeMap<String, Arc<Profile>>) {
        let reports =
            self.agents.read().iter().map(|(name, agent)| (name.clone(), agent.kernel.clone())).collect();
        let kernels = Kernels::new(&self.nodes.read(), &reports, profiles, &self.shipped);
        let caveat = kernels.caveat();
        let before = self.kernels.swap(Arc::new(kernels)).caveat();
        // Once, and again when it is another.
        let said = self.caveat_said.swap(true, Ordering::Relaxed) && caveat == before;
        if let Some(caveat) = caveat.filter(|_| !said) {
            tracing::info!("kernels: {caveat}");
        }
        self.touch();
    }
}

/// Brings a table up to date; says whether it is another one than before.
fn update<T: PartialEq>(table: &mut BTreeMap<String, T>, change: Change<(String, T)>) -> bool {
    match change {
        Change::Apply((name, value)) => {
            let same = table.get(&name) == Some(&value);
            table.insert(name, value);
            !same
        }
        Change::Delete(Name { name, .. }) => table.remove(&name).is_some(),
        Change::Reset(all) => {
            let new = all.into_iter().collect();
            let same = *table == new;
            *table = new;
            !same
        }
    }
}
