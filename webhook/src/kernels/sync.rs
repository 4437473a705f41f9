//! Keeps the profiles of the cluster's kernels: each is fetched once, from any node that has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use gatewatch_kernel::Profile;

use super::fetch::fetch;
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
    for agent in cluster.agents().into_values() {
        wanted.entry(agent.kernel.hash).or_default().extend(agent.kernel.endpoint);
    }
    profiles.retain(|hash, _| wanted.contains_key(hash));
    let mut complete = true;
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
                Err(error) => {
                    let text = error.to_string();
                    if logged.insert(text.clone()) {
                        tracing::warn!("a kernel profile is missing: {text}");
                    }
                }
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
