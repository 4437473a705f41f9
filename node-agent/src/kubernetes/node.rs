//! The node's own object: its labels, for `nodeSelector`.

use k8s_openapi::api::core::v1 as core;
use kube::{Api, Client, core::PartialObjectMeta, runtime::watcher};

use super::{
    queue::{Objects, Queue},
    watch::{Handler, watch as watch_objects},
};
use crate::sources::Change;

type Meta = PartialObjectMeta<core::Node>;

pub(super) async fn watch(client: Client, node: String, queue: Queue) {
    let api: Api<Meta> = Api::all(client);
    let config = watcher::Config::default().fields(&format!("metadata.name={node}"));
    watch_objects(api, config, Objects::Node, queue.clone(), Node { name: node, queue }).await;
}

struct Node {
    name: String,
    queue: Queue,
}

impl Handler<Meta> for Node {
    async fn all(&mut self, objects: Vec<Meta>) {
        if objects.is_empty() {
            let name = &self.name;
            tracing::warn!(
                "the cluster has no node {name}, so the agent knows no pods and no labels; check --node-name"
            );
        }
        for object in objects {
            self.apply(object).await;
        }
    }

    async fn apply(&mut self, object: Meta) {
        self.queue.push(Change::NodeLabels(Some(object.metadata.labels.unwrap_or_default())));
    }

    async fn delete(&mut self, _: Meta) {}
}
