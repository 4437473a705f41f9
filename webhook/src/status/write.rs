//! Writes a `PolicyCoverage` for every policy, and Events where something got worse. Only what has changed is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use gatewatch_coverage::PolicyId;
use gatewatch_crds::{PolicyCoverage, PolicyCoverageStatus};
use gatewatch_policy::{diagnostic::Diagnostic, read::API_VERSION, selection::Selection, target::Target};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Client, ResourceExt as _,
    api::{Api, DeleteParams, ListParams, Patch, PatchParams},
    core::DeserializeGuard,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::json;

use super::{Nodes, keep_transition, spec, status};
use crate::{agents::by_node, cluster::Cluster, kernels::Kernels, stored_policy::StoredPolicy};

const MANAGER: &str = "gatewatch-webhook";
/// Interval of writing. It merges a burst of changes, and limits the requests for one policy.
const INTERVAL: Duration = Duration::from_secs(2);
/// Failed objects of a round that are logged one by one.
const LOGGED: usize = 3;
/// Maximum Events that one change of a policy's status writes about nodes. `status.failedNodes` has the others.
const EVENTS: usize = 5;

/// The reason why an object is not written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    /// This replica does not lead any more.
    #[error("this replica no longer holds the Lease")]
    NotLeader,
    /// The API server returned an error.
    #[error(transparent)]
    Api(kube::Error),
}

impl WriteError {
    fn is_not_found(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(answer)) if answer.code == 404)
    }
}

/// The result of a round of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// Everything is written.
    Complete,
    /// Some objects could not be written.
    SomeFailed,
    /// The existing statuses could not be read, or this replica lost the Lease.
    Stopped,
}

/// The writer of one replica.
pub struct Writer {
    api: Api<PolicyCoverage>,
    guarded: Api<DeserializeGuard<PolicyCoverage>>,
    recorder: Recorder,
    cluster: Arc<Cluster>,
    recheck: Duration,
    /// The statuses in the API server, by the object's name.
    written: BTreeMap<String, PolicyCoverageStatus>,
    /// The diagnostics of each policy that do not depend on pods.
    cached: BTreeMap<PolicyId, CachedDiagnostics>,
}

/// The diagnostics of one generation of a policy on these kernels, for these targets.
struct CachedDiagnostics {
    stored: Arc<StoredPolicy>,
    kernels: Arc<Kernels>,
    selection: Selection,
    diagnostics: Arc<Vec<Diagnostic>>,
}

impl Writer {
    /// A writer that computes all statuses again after `recheck` at the latest.
    pub fn new(client: &Client, identity: &str, cluster: Arc<Cluster>, recheck: Duration) -> Self {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(identity.to_owned()) };
        Self {
            api: Api::all(client.clone()),
            guarded: Api::all(client.clone()),
            recorder: Recorder::new(client.clone(), reporter),
            cluster,
            recheck,
            written: BTreeMap::new(),
            cached: BTreeMap::new(),
        }
    }

    /// Writes while this replica leads. Never returns.
    pub async fn run(mut self) {
        let mut led = false;
        let mut done: Option<(u64, Instant)> = None;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let leads = self.cluster.leadership.holds();
            if !leads || !self.cluster.unsynced().is_empty() {
                led = false;
                continue;
            }
            let version = self.cluster.version();
            let current = done.is_some_and(|(v, at)| v == version && at.elapsed() < self.recheck);
            if led && current {
                continue;
            }
            // Statuses of other replicas are read once after becoming leader, and manual changes at every recheck.
            let reload = !led || done.is_none_or(|(_, at)| at.elapsed() >= self.recheck);
            match self.write_all(reload).await {
                Round::Complete => (led, done) = (true, Some((version, Instant::now()))),
                // The existing statuses are known, so they need not be read again.
                Round::SomeFailed => led = true,
                Round::Stopped => {}
            }
        }
    }

    /// Makes a request for as long as this replica leads. A request that hangs ends with the leadership, so another
    /// replica's statuses are never overwritten.
    async fn request<T>(&self, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, WriteError> {
        let left = self.cluster.leadership.left().ok_or(WriteError::NotLeader)?;
        tokio::time::timeout(left, call).await.map_err(|_| WriteError::NotLeader)?.map_err(WriteError::Api)
    }

    /// Reads the existing statuses.
    async fn read_existing(&mut self) -> Result<(), WriteError> {
        let all = self.request(self.guarded.list(&ListParams::default())).await?;
        self.written = all
            .items
            .into_iter()
            .map(|object| {
                let name = object.name_any();
                // An unreadable status is written again.
                let status = object.0.ok().and_then(|object| object.status).unwrap_or_default();
                (name, status)
            })
            .collect();
        Ok(())
    }

    /// Writes all statuses that have changed. With `reload`, the existing ones are read first. An object that cannot be
    /// written does not keep the others from being written.
    async fn write_all(&mut self, reload: bool) -> Round {
        if reload && let Err(error) = self.read_existing().await {
            tracing::warn!("cannot read PolicyCoverage, retrying: {error}");
            return Round::Stopped;
        }
        let (nodes, agents, pods) = (self.cluster.nodes(), self.cluster.agents(), self.cluster.agent_pods());
        let pods = by_node(&pods);
        let kernels = self.cluster.kernels();
        let modes = self.cluster.modes();
        let by_gatewatch = modes.selection().includes(Target::Gatewatch);
        let nodes = Nodes { nodes: &nodes, agents: &agents, pods: &pods, by_gatewatch };
        let policies = self.cluster.policies();
        let ids: BTreeSet<&PolicyId> = policies.iter().map(|stored| &stored.id).collect();
        self.cached.retain(|id, _| ids.contains(id));
        let mut names = BTreeSet::new();
        let mut failed = 0;
        for stored in &policies {
            let name = match spec(&stored.id).object_name() {
                Ok(name) => name,
                Err(error) => {
                    tracing::debug!("{error}");
                    continue;
                }
            };
            names.insert(name.clone());
            let on_kernels = self.diagnostics(stored, &kernels, modes.selection());
            let now = Time(Timestamp::now());
            let mut status = self.cluster.with_index(|index| status(stored, &on_kernels, index, nodes, now));
            if let Some(before) = self.written.get(&name) {
                keep_transition(&mut status, before);
                if *before == status {
                    continue;
                }
            }
            match self.write_one(stored, name.clone(), status).await {
                Ok(()) => {}
                Err(WriteError::NotLeader) => return Round::Stopped,
                Err(error) => self.log_failure(&mut failed, &name, &error),
            }
        }
        if self.delete_others(&names, &mut failed).await.is_err() {
            return Round::Stopped;
        }
        if failed > LOGGED {
            tracing::warn!("cannot write {} more PolicyCoverages, retrying", failed - LOGGED);
        }
        if failed == 0 { Round::Complete } else { Round::SomeFailed }
    }

    /// Deletes the objects of policies that no longer exist. The error is that this replica no longer leads.
    async fn delete_others(
        &mut self,
        names: &BTreeSet<String>,
        failed: &mut usize,
    ) -> Result<(), WriteError> {
        let others: Vec<String> =
            self.written.keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in others {
            match self.request(self.api.delete(&name, &DeleteParams::default())).await {
                Ok(_) => drop(self.written.remove(&name)),
                Err(error) if error.is_not_found() => drop(self.written.remove(&name)),
                Err(WriteError::NotLeader) => return Err(WriteError::NotLeader),
                Err(error) => self.log_failure(failed, &name, &error),
            }
        }
        Ok(())
    }

    fn log_failure(&self, failed: &mut usize, name: &str, error: &WriteError) {
        *failed += 1;
        self.cluster.status_write_failures.fetch_add(1, Ordering::Relaxed);
        if *failed <= LOGGED {
            tracing::warn!("cannot write PolicyCoverage {name}, retrying: {error}");
        }
    }

    async fn write_one(
        &mut self,
        stored: &StoredPolicy,
        name: String,
        status: PolicyCoverageStatus,
    ) -> Result<(), WriteError> {
        let before = self.written.get(&name).cloned();
        let params = PatchParams::apply(MANAGER).force();
        if before.is_none() {
            let object = Patch::Apply(PolicyCoverage::new(&name, spec(&stored.id)));
            self.request(self.api.patch(&name, &params, &object)).await?;
        }
        let patch = json!({
            "apiVersion": "gatewatch.dev/v1alpha1", "kind": "PolicyCoverage",
            "metadata": {"name": name}, "status": status,
        });
        match self.request(self.api.patch_status(&name, &params, &Patch::Apply(patch))).await {
            Ok(_) => {}
            // It was deleted meanwhile. The next round creates it again.
            Err(error) if error.is_not_found() => {
                self.written.remove(&name);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        if let Some(before) = &before {
            self.write_events(stored, before, &status).await;
        }
        self.written.insert(name, status);
        Ok(())
    }

    fn diagnostics(
        &mut self,
        stored: &Arc<StoredPolicy>,
        kernels: &Arc<Kernels>,
        selection: &Selection,
    ) -> Arc<Vec<Diagnostic>> {
        let known = self.cached.get(&stored.id).filter(|cached| {
            Arc::ptr_eq(&cached.stored, stored)
                && Arc::ptr_eq(&cached.kernels, kernels)
                && cached.selection == *selection
        });
        if let Some(cached) = known {
            return Arc::clone(&cached.diagnostics);
        }
        let diagnostics = Arc::new(kernels.assess(&stored.checked, selection));
        let cached = CachedDiagnostics {
            stored: Arc::clone(stored),
            kernels: Arc::clone(kernels),
            selection: selection.clone(),
            diagnostics: Arc::clone(&diagnostics),
        };
        self.cached.insert(stored.id.clone(), cached);
        diagnostics
    }

    async fn publish(&self, event: &Event, about: &ObjectReference) -> Result<(), WriteError> {
        self.request(self.recorder.publish(event, about)).await
    }

    /// Writes Events about what got worse.
    async fn write_events(
        &self,
        stored: &StoredPolicy,
        before: &PolicyCoverageStatus,
        now: &PolicyCoverageStatus,
    ) {
        let mut events = Vec::new();
        if before.pods > 0 && now.pods == 0 {
            events.push(("CoverageLost", format!("it selected {} pods and now selects none", before.pods)));
        }
        let known: BTreeSet<&str> = before.failed_nodes.iter().map(|node| node.name.as_str()).collect();
        for node in now.failed_nodes.iter().filter(|node| !known.contains(node.name.as_str())).take(EVENTS) {
            events
                .push(("NodeFailed", format!("node {} does not run it in full: {}", node.name, node.reason)));
        }
        let target = spec(&stored.id);
        let reference = ObjectReference {
            api_version: Some(API_VERSION.to_owned()),
            kind: Some(format!("{:?}", target.kind)),
            name: Some(target.name),
            namespace: target.namespace,
            uid: Some(stored.uid.clone()),
            ..ObjectReference::default()
        };
        for (reason, note) in events {
            let event = Event {
                type_: EventType::Warning,
                reason: reason.to_owned(),
                note: Some(note),
                action: "Watch".to_owned(),
                secondary: None,
            };
            if let Err(error) = self.publish(&event, &reference).await {
                tracing::warn!("cannot write an Event: {error}");
            }
        }
    }
}
