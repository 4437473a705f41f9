//! The `ConfigMap` that holds the table: taken up when it changes, refused when it can't be used.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client};
use serde_json::json;

use super::{BadModes, DATA_KEY, Modes};
use crate::cluster::Cluster;

/// Where it is said, on the `ConfigMap` itself, whether its table is in force.
const STATE: &str = "gatewatch.dev/modes";

/// Follows it for ever. Where there is none, the usual modes are in force.
pub async fn follow(client: Client, namespace: String, name: String, cluster: Arc<Cluster>) {
    let api = Api::<ConfigMap>::namespaced(client, &namespace);
    let config = Config::default().fields(&format!("metadata.name={name}"));
    let mut stream = std::pin::pin!(watcher(api.clone(), config).default_backoff());
    let mut listed = None;
    while let Some(event) = stream.next().await {
        let map = match event {
            Ok(Event::Init) => {
                listed = None;
                continue;
            }
            Ok(Event::InitApply(map)) => {
                listed = Some(map);
                continue;
            }
            Ok(Event::InitDone) => listed.take(),
            Ok(Event::Apply(map)) => Some(map),
            Ok(Event::Delete(_)) => None,
            Err(error) => {
                tracing::warn!("the watch of the modes was interrupted and restarts: {error}");
                continue;
            }
        };
        let table = take(map.as_ref(), &cluster);
        if let Some(map) = map {
            say(&api, &map, &name, table).await;
        }
    }
}

/// Takes a table up, or leaves the one before in force.
fn take(map: Option<&ConfigMap>, cluster: &Cluster) -> Result<(), BadModes> {
    let text = map.and_then(|map| map.data.as_ref()?.get(DATA_KEY)).map_or("", String::as_str);
    let table = Modes::parse(text);
    cluster.modes_refused.store(table.is_err(), Ordering::Relaxed);
    match table {
        Ok(modes) => {
            if modes != *cluster.modes() {
                tracing::info!("new modes are in force");
                cluster.set_modes(modes);
            }
            Ok(())
        }
        Err(error) => {
            tracing::error!("invalid modes, the previous ones stay in force: {error}");
            Err(error)
        }
    }
}

/// Writes on the `ConfigMap` whether it is in force, where that isn't there already. All replicas write the same.
async fn say(api: &Api<ConfigMap>, map: &ConfigMap, name: &str, table: Result<(), BadModes>) {
    let state = match table {
        Ok(()) => "in force".to_owned(),
        Err(error) => format!("rejected, the previous modes stay in force: {error}"),
    };
    let annotations = map.metadata.annotations.as_ref();
    if annotations.and_then(|annotations| annotations.get(STATE)) == Some(&state) {
        return;
    }
    let patch = json!({"metadata": {"annotations": {STATE: state}}});
    if let Err(error) = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        tracing::warn!("cannot annotate the ConfigMap {name} with the state of its modes: {error}");
    }
}
