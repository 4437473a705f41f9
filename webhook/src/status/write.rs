//! Writes a `PolicyCoverage` for every policy, and Events where something got worse. Only what has changed is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use gatewatch_coverage::PolicyId;
use gatewatch_crds::{PolicyCoverage, PolicyCoverageStatus};
use gatewatch_policy::{diagnostic::Diagnostic, selection::Selection, target::Target};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Client, ResourceExt as _,
    api::{Api, DeleteParams, ListParams, Patch, PatchParams},
    core::DeserializeGuard,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::json;

use super::{Nodes, keep_transition, spec, status};
use crate::{
    cluster::{Cluster, StoredPolicy},
    kernels::Kernels,
};

const MANAGER: &str = "gatewatch-webhook";
/// Interval of writing. It merges a burst of changes, and limits the requests for one policy.
const INTERVAL: Duration = Duration::from_secs(2);

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
            let leads = self.cluster.leads.load(Ordering::Acquire);
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
                Ok(()) => {
                    led = true;
                    done = Some((version, Instant::now()));
                }
                Err(error) => tracing::warn!("cannot write PolicyCoverage, retrying: {error}"),
            }
        }
    }

    /// Reads the existing statuses.
    async fn read_existing(&mut self) -> Result<(), kube::Error> {
        let all = self.guarded.list(&ListParams::default()).await?;
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

    /// Writes all statuses that have changed. With `reload`, the existing ones are read first.
    async fn write_all(&mut self, reload: bool) -> Result<(), kube::Error> {
        if reload {
            self.read_existing().await?;
        }
        let (nodes, agents) = (self.cluster.nodes(), self.cluster.agents());
        let kernels = self.cluster.kernels();
        let modes = self.cluster.modes();
        let by_gatewatch = modes.selection().includes(Target::Gatewatch);
        let nodes = Nodes { nodes: &nodes, agents: &agents, by_gatewatch };
        let policies = self.cluster.policies();
        let ids: BTreeSet<&PolicyId> = policies.iter().map(|stored| &stored.id).collect();
        self.cached.retain(|id, _| ids.contains(id));
        let mut names = BTreeSet::new();
        for stored in &policies {
            let target = spec(&stored.id);
            let name = match target.object_name() {
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
            let before = self.written.get(&name);
            if let Some(before) = before {
                keep_transition(&mut status, before);
                if *before == status {
                    continue;
                }
            }
            let before = before.cloned();
            let params = PatchParams::apply(MANAGER).force();
            if before.is_none() {
                self.api.patch(&name, &params, &Patch::Apply(PolicyCoverage::new(&name, target))).await?;
            }
            let patch = json!({
                "apiVersion": "gatewatch.dev/v1alpha1", "kind": "PolicyCoverage",
                "metadata": {"name": name}, "status": status,
            });
            match self.api.patch_status(&name, &params, &Patch::Apply(patch)).await {
                Ok(_) => {}
                // It was deleted meanwhile. The next round creates it again.
                Err(kube::Error::Api(answer)) if answer.code == 404 => {
                    self.written.remove(&name);
                    continue;
                }
                Err(error) => return Err(error),
            }
            if let Some(before) = &before {
                self.write_events(stored, before, &status).await;
            }
            self.written.insert(name, status);
        }
        let gone: Vec<String> = self.written.keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in gone {
            match self.api.delete(&name, &DeleteParams::default()).await {
                Ok(_) => {}
                Err(kube::Error::Api(answer)) if answer.code == 404 => {}
                Err(error) => return Err(error),
            }
            self.written.remove(&name);
        }
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
        for node in now.failed_nodes.iter().filter(|node| !known.contains(node.name.as_str())).take(5) {
            events
                .push(("NodeFailed", format!("node {} does not run it in full: {}", node.name, node.reason)));
        }
        let target = spec(&stored.id);
        let reference = ObjectReference {
            api_version: Some("cilium.io/v1alpha1".to_owned()),
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
            if let Err(error) = self.recorder.publish(&event, &reference).await {
                tracing::warn!("cannot write an Event: {error}");
            }
        }
    }
}
