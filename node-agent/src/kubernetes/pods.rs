//! The pods of the node.

use k8s_openapi::api::core::v1 as core;
use kube::{Api, Client, core::DeserializeGuard, runtime::watcher};

use super::{
    owners::Owners,
    queue::{Objects, Queue},
    watch::{Handler, watch as watch_objects},
};
use crate::{pods::Pod, sources::Change};

type Guarded = DeserializeGuard<core::Pod>;

pub(super) async fn watch(client: Client, node: String, queue: Queue) {
    let api: Api<Guarded> = Api::all(client.clone());
    let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
    let pods = Pods { owners: Owners::new(client), queue: queue.clone() };
    // On the heap: pods are large, and so is what waits for one.
    Box::pin(watch_objects(api, config, Objects::Pods, queue, pods)).await;
}

struct Pods {
    owners: Owners,
    queue: Queue,
}

impl Pods {
    async fn read(&mut self, object: Guarded) -> Option<Pod> {
        match object.0 {
            Ok(object) => {
                let mut pod = Pod::from(&object);
                if let Some(workload) = self.owners.workload(&object).await {
                    pod.workload = workload;
                }
                Some(pod)
            }
            Err(invalid) => {
                let name = invalid.metadata.name.unwrap_or_default();
                tracing::error!("cannot read pod {name}: {}; it is identified by its UID", invalid.error);
                None
            }
        }
    }
}

impl Handler<Guarded> for Pods {
    async fn all(&mut self, objects: Vec<Guarded>) {
        let mut pods = Vec::new();
        for object in objects {
            pods.extend(self.read(object).await);
        }
        self.queue.push(Change::Pods(pods));
    }

    async fn apply(&mut self, object: Guarded) {
        if let Some(pod) = self.read(object).await {
            self.queue.push(Change::Pod(pod));
        }
    }

    async fn delete(&mut self, object: Guarded) {
        // A pod that ended at once may have been seen by no other event than this one.
        let uid = match &object.0 {
            Ok(pod) => Pod::from(pod).uid,
            Err(invalid) => invalid.metadata.uid.clone().unwrap_or_default(),
        };
        self.apply(object).await;
        self.queue.push(Change::PodGone(uid));
    }
}
