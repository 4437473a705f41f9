//! The pods of the node.

use std::collections::HashSet;

use k8s_openapi::api::core::v1 as core;
use kube::{Api, Client, core::DeserializeGuard, runtime::watcher};

use super::{
    claims::Claims,
    owners::Owners,
    queue::{Objects, Queue},
    watch::{Handler, watch as watch_objects},
};
use crate::{pods::Pod, sources::Change};

type Guarded = DeserializeGuard<core::Pod>;

pub(super) async fn watch(client: Client, node: String, queue: Queue) {
    let api: Api<Guarded> = Api::all(client.clone());
    let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
    let pods = Pods { claims: Claims::default(), owners: Owners::new(client), queue: queue.clone() };
    // On the heap: pods are large, and so is what waits for one.
    Box::pin(watch_objects(api, config, Objects::Pods, queue, pods)).await;
}

struct Pods {
    claims: Claims,
    owners: Owners,
    queue: Queue,
}

impl Pods {
    /// The pods that an object stands for.
    async fn read(&mut self, object: Guarded) -> Vec<Pod> {
        match object.0 {
            Ok(object) => {
                let mut pods = self.claims.accept(Pod::all_of(&object));
                if let Some(workload) = self.owners.workload(&object).await {
                    for pod in &mut pods {
                        pod.workload = workload.clone();
                    }
                }
                pods
            }
            Err(invalid) => {
                let name = invalid.metadata.name.unwrap_or_default();
                tracing::error!("cannot read pod {name}: {}; it is identified by its UID", invalid.error);
                Vec::new()
            }
        }
    }
}

/// `metadata.uid`.
fn uid(object: &Guarded) -> String {
    let uid = match &object.0 {
        Ok(pod) => &pod.metadata.uid,
        Err(invalid) => &invalid.metadata.uid,
    };
    uid.clone().unwrap_or_default()
}

impl Handler<Guarded> for Pods {
    async fn all(&mut self, objects: Vec<Guarded>) {
        self.claims.only(&objects.iter().map(uid).collect::<HashSet<_>>());
        let mut pods = Vec::new();
        for object in objects {
            pods.extend(self.read(object).await);
        }
        self.queue.push(Change::Pods(pods));
    }

    async fn apply(&mut self, object: Guarded) {
        for pod in self.read(object).await {
            self.queue.push(Change::Pod(pod));
        }
    }

    async fn delete(&mut self, object: Guarded) {
        // A pod that ended at once may have been seen by no other event than this one.
        let of = uid(&object);
        self.apply(object).await;
        for uid in self.claims.release(&of) {
            self.queue.push(Change::PodGone(uid));
        }
    }
}
