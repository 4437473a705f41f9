//! Keeps the profiles of the cluster's kernels: each is fetched once, from any node that has it.

pub mod fetch;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use gatewatch_kernel::Profile;

use self::fetch::{FetchError, check_url, fetch};
use crate::cluster::Cluster;

/// Changes come in bursts: a node joins, its agent reports.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// Interval for retrying failed downloads.
const RETRY: Duration = Duration::from_secs(30);

/// Downloads the profiles of the cluster's kernels whenever agents change. Never returns.
pub async fn sync(cluster: Arc<Cluster>) {
    let mut profiles = BTreeMap::<String, Arc<Profile>>::new();
    // Errors that are logged already.
    let mut logged = BTreeSet::new();
    loop {
        let complete = sync_once(&cluster, &mut profiles, &mut logged).await;
        cluster.rebuild_kernels(&profiles);
        tokio::select! {
            () = cluster.kernels_changed() => tokio::time::sleep(DEBOUNCE).await,
            () = tokio::time::sleep(RETRY), if !complete => {}
        }
    }
}

/// Downloads missing profiles, and drops those that no node uses. Returns whether all offered profiles are loaded.
async fn sync_once(
    cluster: &Cluster,
    profiles: &mut BTreeMap<String, Arc<Profile>>,
    logged: &mut BTreeSet<String>,
) -> bool {
    let mut wanted = BTreeMap::<String, Vec<String>>::new();
    let (nodes, pods) = (cluster.nodes(), cluster.agent_pods());
    for (name, agent) in cluster.agents() {
        let node = nodes.get(&name).map(|node| &node.addresses);
        let pods = pods.values().filter(|pod| pod.node == name).map(|pod| &pod.addresses);
        let allowed: Vec<IpAddr> = node.into_iter().chain(pods).flatten().copied().collect();
        let endpoints = wanted.entry(agent.kernel.hash).or_default();
        match agent.kernel.endpoint.map(|url| check_url(&url, &allowed).map(|()| url)) {
            Some(Ok(url)) => endpoints.push(url),
            Some(Err(error)) => log_once(logged, &error),
            None => {}
        }
    }
    profiles.retain(|hash, _| wanted.contains_key(hash));
    let mut complete = true;
    // A URL that is rejected now may be allowed after the node or the pod has its address, which is a change.
    for (hash, endpoints) in wanted.into_iter().filter(|(_, endpoints)| !endpoints.is_empty()) {
        if profiles.contains_key(&hash) {
            continue;
        }
        let mut found = None;
        for endpoint in endpoints.iter().take(3) {
            match fetch(endpoint, &hash).await {
                Ok(profile) => {
                    tracing::info!(kernel = profile.release, hash, "loaded a kernel profile");
                    found = Some(profile);
                    break;
                }
                Err(error) => log_once(logged, &error),
            }
        }
        match found {
            Some(profile) => drop(profiles.insert(hash, Arc::new(profile))),
            None => complete = false,
        }
    }
    if complete {
        logged.clear();
    }
    complete
}

fn log_once(logged: &mut BTreeSet<String>, error: &FetchError) {
    let text = error.to_string();
    if logged.insert(text.clone()) {
        tracing::warn!("a kernel profile is missing: {text}");
    }
}
