//! Caches of the cluster's objects, filled by watches. Decisions never send a request to the API server.

pub mod objects;
pub mod watch;

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Instant,
};

use parking_lot::Mutex;

/// The caches. One watch fills each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is named as what it holds")]
pub enum Cache {
    TracingPolicy,
    TracingPolicyNamespaced,
    Pod,
    Namespace,
    Deployment,
    StatefulSet,
    DaemonSet,
    ReplicaSet,
    ReplicationController,
    Job,
    CronJob,
    Node,
    NodeTracing,
    AgentPod,
}

impl Cache {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::TracingPolicy,
        Self::TracingPolicyNamespaced,
        Self::Pod,
        Self::Namespace,
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::ReplicationController,
        Self::Job,
        Self::CronJob,
        Self::Node,
        Self::NodeTracing,
        Self::AgentPod,
    ];

    /// The name of the kind.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TracingPolicy => "TracingPolicy",
            Self::TracingPolicyNamespaced => "TracingPolicyNamespaced",
            Self::Pod => "Pod",
            Self::Namespace => "Namespace",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::ReplicationController => "ReplicationController",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
            Self::Node => "Node",
            Self::NodeTracing => "NodeTracing",
            Self::AgentPod => "AgentPod",
        }
    }
}

/// The state of a cache.
#[derive(Debug)]
pub struct Health {
    synced: AtomicBool,
    objects: AtomicU64,
    unreadable: AtomicU64,
    errors: AtomicU64,
    lists: AtomicU64,
    /// When the watch last received something.
    last_contact: Mutex<Instant>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            synced: AtomicBool::new(false),
            objects: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            lists: AtomicU64::new(0),
            last_contact: Mutex::new(Instant::now()),
        }
    }
}

/// A snapshot of the state of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatus {
    /// Whether it has been filled at least once.
    pub synced: bool,
    /// Objects in it.
    pub objects: u64,
    /// Total number of objects that could not be read.
    pub unreadable: u64,
    /// Number of interruptions of the watch.
    pub errors: u64,
    /// Number of times that all objects were listed.
    pub lists: u64,
    /// Seconds since it last received something from the API server.
    pub age: u64,
}

impl Health {
    fn record_contact(&self) {
        *self.last_contact.lock() = Instant::now();
    }

    pub(crate) fn assume_synced(&self) {
        self.synced.store(true, Ordering::Release);
    }

    /// Whether it has been filled at least once.
    pub fn synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// A snapshot of its state.
    pub fn status(&self) -> CacheStatus {
        CacheStatus {
            synced: self.synced(),
            objects: self.objects.load(Ordering::Relaxed),
            unreadable: self.unreadable.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            lists: self.lists.load(Ordering::Relaxed),
            age: self.last_contact.lock().elapsed().as_secs(),
        }
    }
}
