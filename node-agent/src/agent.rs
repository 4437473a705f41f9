//! The agent: keeps the kernel in step with policies and pods, and answers scrapes.
//!
//! One thread changes things: the [`Reconciler`], which owns the engine with all that is loaded in the kernel. Scrapes and
//! probes share an [`Agent`] with it:
//!
//! * the [counts](counts), under a mutex that is held to read and fold them, never while a program is loaded;
//! * the published state of the policies, an immutable value that is replaced as a whole.
//!
//! On a node on which no policy can run there are neither of them: see [`refused`].

mod counts;
mod debounce;
mod enforcement;
mod host;
mod policies;
mod reconcile;
mod refused;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use arc_swap::ArcSwap;
use gatewatch_policy::model::NamespaceKind;
use tokio::sync::watch;

use self::counts::Counts;
use crate::{
    bpf::Reader,
    cgroup::PodCgroups,
    enforcement::{Mode, Restrictions},
    engine::Engine,
    metrics::{self, AtPrograms, PolicyStatus, Snapshot},
    policy_dir::DirError,
    records,
    sources::Source,
};

pub use self::{
    counts::Retention,
    host::{cgroup_root, host_namespaces},
    policies::PolicySet,
    reconcile::Reconciler,
    refused::refuse,
};

/// The part of the agent that scrapes and probes read.
pub struct Agent {
    counts: Mutex<Counts>,
    published: ArcSwap<Published>,
    policies: watch::Sender<PolicySet>,
    /// What the thread that reads records needs to know, if there is one.
    records: Option<Arc<records::Shared>>,
}

/// What is known of the policies.
#[derive(Clone, Debug, Default, PartialEq)]
struct Published {
    policies: Vec<PolicyStatus>,
    user_programs: Vec<AtPrograms>,
    hash: String,
    source_problems: u64,
    /// What all policies of the node may do; `None` until that is known.
    enforcement: Option<Mode>,
    /// Whether policies were applied since the start.
    ready: bool,
}

/// Continues with the counts of the agent before this one, and reads the sources for the first time. Policies are applied
/// when the reconciler [runs](Reconciler::run); until then the ones of the agent before count.
pub fn start(
    mut engine: Engine,
    reader: Reader,
    sources: Vec<Box<dyn Source>>,
    host_namespaces: BTreeMap<NamespaceKind, u32>,
    (retention, restrictions): (Retention, Restrictions),
    records: Option<Arc<records::Shared>>,
) -> Result<(Arc<Agent>, Reconciler), DirError> {
    let mut counts = Counts::new(reader, engine.view(), host::cgroup_root(), retention, Instant::now());
    if let Some(shared) = &records {
        counts.account_for(Arc::clone(shared));
    }
    let agent = Arc::new(Agent {
        records,
        counts: Mutex::new(counts),
        published: ArcSwap::default(),
        policies: watch::Sender::new(PolicySet::default()),
    });
    set_pods(&mut engine, agent.counts().pod_cgroups());
    let reconciler = Reconciler::new(Arc::clone(&agent), engine, sources, host_namespaces, restrictions)?;
    Ok((agent, reconciler))
}

/// Tells the kernel which cgroups are pods'.
fn set_pods(engine: &mut Engine, pods: PodCgroups) {
    if let Err(error) = engine.bpf_mut().set_pods(pods) {
        tracing::error!(%error, "cannot write into the kernel which cgroups are pods'");
    }
}

impl Agent {
    /// The policies and their states; the receiver sees every change.
    pub fn policies(&self) -> watch::Receiver<PolicySet> {
        self.policies.subscribe()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // A panic in another thread doesn't make the numbers wrong.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, published: Published) {
        let set = PolicySet {
            policies: Some(published.policies.clone()),
            hash: published.hash.clone(),
            unsupported: None,
        };
        if published.ready {
            self.policies.send_if_modified(|known| {
                let changed = *known != set;
                *known = set;
                changed
            });
        }
        self.published.store(Arc::new(published));
    }
}

impl metrics::Source for Agent {
    fn snapshot(&self) -> Snapshot {
        let now = Instant::now();
        let mut counts = self.counts();
        counts.follow_cgroups(now);
        counts.fold(now);
        let counted = counts.snapshot(now);
        drop(counts);
        let published = self.published.load();
        Snapshot {
            policies: published.policies.clone(),
            user_programs: published.user_programs.clone(),
            policy_set_hash: published.hash.clone(),
            source_problems: published.source_problems,
            enforcement: published.enforcement,
            ..counted
        }
    }

    fn ready(&self) -> Result<(), String> {
        let ready = self.published.load().ready;
        if ready { Ok(()) } else { Err("the policies are being loaded".to_owned()) }
    }
}
