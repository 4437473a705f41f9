//! The workload of a pod whose owner is itself owned: the Deployment of a `ReplicaSet`, the `CronJob` of a Job.
//!
//! Names are made by rule, and the rule is used where the API server can't be asked; but a Job may be named as if a
//! `CronJob` had made it. So the owner is asked for its own owner, once for each.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{apps::v1::ReplicaSet, batch::v1::Job, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{Api, Client, core::PartialObjectMeta};

use crate::pods::Workload;

/// Time for one answer. The pod's events wait meanwhile; none is lost.
const WITHIN: Duration = Duration::from_secs(2);
/// How long the rule is used after the API server didn't answer.
const PAUSE: Duration = Duration::from_secs(30);
/// Owners that are remembered.
const KNOWN: usize = 4_096;

pub(super) struct Owners {
    client: Client,
    /// By the owner's uid.
    known: HashMap<String, Workload>,
    paused: Option<Instant>,
}

impl Owners {
    pub(super) fn new(client: Client) -> Self {
        Self { client, known: HashMap::new(), paused: None }
    }

    /// The workload; `None` where the pod alone names it, or where the API server cannot be asked.
    pub(super) async fn workload(&mut self, pod: &Pod) -> Option<Workload> {
        let owner = controller(&pod.metadata)?;
        if !matches!(owner.kind.as_str(), "ReplicaSet" | "Job") {
            return None;
        }
        if let Some(known) = self.known.get(&owner.uid) {
            return Some(known.clone());
        }
        if self.paused.is_some_and(|since| since.elapsed() < PAUSE) {
            return None;
        }
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let asked = tokio::time::timeout(WITHIN, self.ask(namespace, owner)).await;
        let meta = match asked {
            Ok(Ok(meta)) => meta?,
            Ok(Err(error)) => {
                self.pause(&error.to_string());
                return None;
            }
            Err(_) => {
                self.pause("no response in time");
                return None;
            }
        };
        let above = controller(&meta).unwrap_or(owner);
        let workload = Workload { kind: above.kind.clone(), name: above.name.clone() };
        if self.known.len() >= KNOWN {
            self.known.clear();
        }
        self.known.insert(owner.uid.clone(), workload.clone());
        Some(workload)
    }

    fn pause(&mut self, why: &str) {
        self.paused = Some(Instant::now());
        tracing::warn!(
            "cannot look up the owner of a pod's owner ({why}); for now, workload names are derived by rule"
        );
    }

    /// The owner's metadata; `None` where there is no such object any more.
    async fn ask(&self, namespace: &str, owner: &OwnerReference) -> Result<Option<ObjectMeta>, kube::Error> {
        let meta = if owner.kind == "Job" {
            let api: Api<PartialObjectMeta<Job>> = Api::namespaced(self.client.clone(), namespace);
            api.get_opt(&owner.name).await?.map(|object| object.metadata)
        } else {
            let api: Api<PartialObjectMeta<ReplicaSet>> = Api::namespaced(self.client.clone(), namespace);
            api.get_opt(&owner.name).await?.map(|object| object.metadata)
        };
        // Another object of the same name is not the owner.
        Ok(meta.filter(|meta| meta.uid.as_ref() == Some(&owner.uid)))
    }
}

fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}
