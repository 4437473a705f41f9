//! Writes a `PolicyCoverage` for every policy, and Events where something got worse. Only what has changed is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gatewatch_coverage::PolicyId;
use gatewatch_crds::{PolicyCoverage, PolicyCoverageStatus};
use gatewatch_policy::diagnostic::Diagnostic;
use gatewatch_policy::target::{Selection, Target};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use super::{Nodes, keep_transition, spec, status};
use crate::cluster::{Cluster, Stored};
use crate::kernels::Kernels;

const MANAGER: &str = "gatewatch-webhook";
/// Changes come in crowds; this is how long one is waited out, and how often the API server hears of one policy.
const PAUSE: Duration = Duration::from_secs(2);

/// The writer of one replica.
pub struct Writer {
    api: Api<PolicyCoverage>,
    guarded: Api<DeserializeGuard<PolicyCoverage>>,
    recorder: Recorder,
    cluster: Arc<Cluster>,
    recheck: Duration,
    /// What the API server has, by the object's name.
    written: BTreeMap<String, PolicyCoverageStatus>,
    /// What is said of a policy without its pods, for this generation, these kernels and these targets.
    said: BTreeMap<PolicyId, Said>,
}

struct Said {
    stored: Arc<Stored>,
    kernels: Arc<Kernels>,
    selection: Selection,
    diagnostics: Arc<Vec<Diagnostic>>,
}

impl Writer {
    /// A writer that looks at everything at least as often as `recheck`.
    pub fn new(client: &Client, identity: &str, cluster: Arc<Cluster>, recheck: Duration) -> Self {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(identity.to_owned()) };
        Self {
            api: Api::all(client.clone()),
            guarded: Api::all(client.clone()),
            recorder: Recorder::new(client.clone(), reporter),
            cluster,
            recheck,
            written: BTreeMap::new(),
            said: BTreeMap::new(),
        }
    }

    /// Writes, for ever, while this replica leads.
    pub async fn run(mut self) {
        let mut led = false;
        let mut done: Option<(u64, Instant)> = None;
        loop {
            tokio::time::sleep(PAUSE).await;
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
            // What another replica wrote meanwhile is read once, and what changed by hand at every re-check.
            let due = !led || done.is_none_or(|(_, at)| at.elapsed() >= self.recheck);
            match self.round(due).await {
                Ok(()) => {
                    led = true;
                    done = Some((version, Instant::now()));
                }
                Err(error) => tracing::warn!("cannot write PolicyCoverage, retrying: {error}"),
            }
        }
    }

    /// What there is already.
    async fn read_back(&mut self) -> Result<(), kube::Error> {
        let all = self.guarded.list(&ListParams::default()).await?;
        self.written = all
            .items
            .into_iter()
            .map(|object| {
                let name = object.name_any();
                // One that can't be read is written anew.
                let status = object.0.ok().and_then(|object| object.status).unwrap_or_default();
                (name, status)
            })
            .collect();
        Ok(())
    }

    /// Looks at everything once. `anew` is whether what the API server has is read first.
    async fn round(&mut self, anew: bool) -> Result<(), kube::Error> {
        if anew {
            self.read_back().await?;
        }
        let (nodes, agents) = (self.cluster.nodes(), self.cluster.agents());
        let kernels = self.cluster.kernels();
        let modes = self.cluster.modes();
        let ours = modes.selection().includes(Target::Gatewatch);
        let nodes = Nodes { nodes: &nodes, agents: &agents, ours };
        let policies = self.cluster.policies();
        let ids: BTreeSet<&PolicyId> = policies.iter().map(|stored| &stored.id).collect();
        self.said.retain(|id, _| ids.contains(id));
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
            let said = self.said(stored, &kernels, modes.selection());
            let now = Time(Timestamp::now());
            let mut status = self.cluster.ask(|index| status(stored, &said, index, nodes, now));
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
                // Somebody deleted it: it is made anew in the next round.
                Err(kube::Error::Api(answer)) if answer.code == 404 => {
                    self.written.remove(&name);
                    continue;
                }
                Err(error) => return Err(error),
            }
            if let Some(before) = &before {
                self.tell(stored, before, &status).await;
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

    fn said(
        &mut self,
        stored: &Arc<Stored>,
        kernels: &Arc<Kernels>,
        selection: &Selection,
    ) -> Arc<Vec<Diagnostic>> {
        let known = self.said.get(&stored.id).filter(|said| {
            Arc::ptr_eq(&said.stored, stored)
                && Arc::ptr_eq(&said.kernels, kernels)
                && said.selection == *selection
        });
        if let Some(said) = known {
            return Arc::clone(&said.diagnostics);
        }
        let diagnostics = Arc::new(kernels.assess(&stored.checked, selection));
        let said = Said {
            stored: Arc::clone(stored),
            kernels: Arc::clone(kernels),
            selection: selection.clone(),
            diagnostics: Arc::clone(&diagnostics),
        };
        self.said.insert(stored.id.clone(), said);
        diagnostics
    }

    /// Events about what got worse.
    async fn tell(&self, stored: &Stored, before: &PolicyCoverageStatus, now: &PolicyCoverageStatus) {
        let mut news = Vec::new();
        if before.pods > 0 && now.pods == 0 {
            news.push(("CoverageLost", format!("it selected {} pods and now selects none", before.pods)));
        }
        let known: BTreeSet<&str> = before.failed_nodes.iter().map(|node| node.name.as_str()).collect();
        for node in now.failed_nodes.iter().filter(|node| !known.contains(node.name.as_str())).take(5) {
            news.push(("NodeFailed", format!("node {} does not run it in full: {}", node.name, node.reason)));
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
        for (reason, note) in news {
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
