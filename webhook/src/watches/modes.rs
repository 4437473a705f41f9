//! Watches the `ConfigMap` of modes. Invalid modes are rejected, and the previous ones stay in force.

use std::sync::{Arc, atomic::Ordering};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::{
        WatchStreamExt as _,
        watcher::{Config, Event, watcher},
    },
};
use serde_json::json;

use crate::{
    caches::watch::Restarts,
    cluster::Cluster,
    modes::{DATA_KEY, Modes, ModesError},
};

/// The annotation of the `ConfigMap` with the state of its modes.
const STATE: &str = "gatewatch.dev/modes";

/// Watches the `ConfigMap` and never returns. Without one, the default modes are in force.
pub async fn watch(client: Client, namespace: String, name: String, cluster: Arc<Cluster>) {
    let api = Api::<ConfigMap>::namespaced(client, &namespace);
    let config = Config::default().fields(&format!("metadata.name={name}"));
    let mut stream = std::pin::pin!(watcher(api.clone(), config).backoff(Restarts::default()));
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
        let result = apply(map.as_ref(), &cluster);
        if let Some(map) = map {
            report(&api, &map, &name, result).await;
        }
    }
}

/// Puts the modes in force. If they are invalid, the previous ones stay in force.
fn apply(map: Option<&ConfigMap>, cluster: &Cluster) -> Result<(), ModesError> {
    let text = map.and_then(|map| map.data.as_ref()?.get(DATA_KEY)).map_or("", String::as_str);
    let parsed = Modes::parse(text);
    cluster.modes_refused.store(parsed.is_err(), Ordering::Relaxed);
    match parsed {
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

/// Annotates the `ConfigMap` with the state of its modes, if that has changed. All replicas write the same.
async fn report(api: &Api<ConfigMap>, map: &ConfigMap, name: &str, result: Result<(), ModesError>) {
    let state = match result {
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
