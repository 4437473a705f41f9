//! What is known of the cluster, kept in memory by watches: decisions never ask the API server.

pub mod follow;
pub mod slim;
mod start;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

pub use start::start;

/// The caches. Each is one watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is named as the kind that it holds")]
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
}

impl Cache {
    /// All of them.
    pub const ALL: [Self; 13] = [
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
    ];

    /// The kind.
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
        }
    }
}

/// How a cache is.
#[derive(Debug)]
pub struct Health {
    synced: AtomicBool,
    objects: AtomicU64,
    unreadable: AtomicU64,
    errors: AtomicU64,
    lists: AtomicU64,
    /// When the watch was last known to be alive.
    heard: Mutex<Instant>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            synced: AtomicBool::new(false),
            objects: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            lists: AtomicU64::new(0),
            heard: Mutex::new(Instant::now()),
        }
    }
}

/// How a cache is at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Whether it has been filled once.
    pub synced: bool,
    /// Objects in it.
    pub objects: u64,
    /// Objects that couldn't be read, all that there were so far.
    pub unreadable: u64,
    /// Times that the watch broke.
    pub errors: u64,
    /// Times that all objects were listed.
    pub lists: u64,
    /// Seconds since it last heard from the API server.
    pub age: u64,
}

impl Health {
    fn heard(&self) {
        *self.heard.lock() = Instant::now();
    }

    pub(crate) fn assume_synced(&self) {
        self.synced.store(true, Ordering::Release);
    }

    /// Whether it has been filled once.
    pub fn synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// How it is now.
    pub fn read(&self) -> Reading {
        Reading {
            synced: self.synced(),
            objects: self.objects.load(Ordering::Relaxed),
            unreadable: self.unreadable.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            lists: self.lists.load(Ordering::Relaxed),
            age: self.heard.lock().elapsed().as_secs(),
        }
    }
}
