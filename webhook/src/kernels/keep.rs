//! Keeps the profiles of the cluster's kernels: each is fetched once, from any node that has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gatewatch_kernel::Profile;

use super::fetch::fetch;
use crate::cluster::Cluster;

/// Changes come in crowds: a node joins, its agent reports.
const SETTLE: Duration = Duration::from_millis(200);
/// When what failed is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// Does so for ever.
pub async fn keep(cluster: Arc<Cluster>) {
    let mut profiles = BTreeMap::<String, Arc<Profile>>::new();
    // What was complained about already.
    let mut said = BTreeSet::new();
    loop {
        let complete = round(&cluster, &mut profiles, &mut said).await;
        cluster.rebuild_kernels(&profiles);
        tokio::select! {
            () = cluster.kernels_changed() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(RETRY), if !complete => {}
        }
    }
}

/// Fetches what is missing and drops what no node has any more. Says whether all is there that agents offer.
async fn round(
    cluster: &Cluster,
    profiles: &mut BTreeMap<String, Arc<Profile>>,
    said: &mut BTreeSet<String>,
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
                    if said.insert(text.clone()) {
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
        said.clear();
    }
    complete
}
