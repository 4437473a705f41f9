//! Pods that have used up their share of a table.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use gatewatch_abi::SHARED_TABLES;

use crate::{
    attribution::{Attribution, Owner},
    bpf::TABLES,
    metrics::OverShare,
};

/// For how long after the last entry that it did not get a pod counts as one that has no share left.
const OVER_SHARE_FOR: Duration = Duration::from_mins(5);

/// Entries that a pod did not get, and since when there were no more.
#[derive(Clone, Copy, Debug, Default)]
struct Since {
    refused: [u64; SHARED_TABLES],
    since: [Option<Instant>; SHARED_TABLES],
}

/// The pods, by the ids of their cgroups.
#[derive(Debug, Default)]
pub(super) struct OverShares(HashMap<u64, Since>);

impl OverShares {
    /// The pods that did not get an entry lately.
    pub(super) fn follow(
        &mut self,
        refused: &[(u64, [u64; SHARED_TABLES])],
        attribution: &Attribution,
        now: Instant,
    ) -> Vec<OverShare> {
        self.0.retain(|pod, _| refused.iter().any(|(known, _)| known == pod));
        let mut over = Vec::new();
        for (pod, numbers) in refused {
            let owner = attribution.owner_of_id(*pod, now);
            let (namespace, name) = match &owner {
                Owner::Container { pod, .. } => (pod.namespace.clone(), pod.name.clone()),
                Owner::Unlisted { uid } => (String::new(), uid.to_string()),
                Owner::Pending | Owner::Host => Default::default(),
            };
            let known = self.0.entry(*pod).or_default();
            for (table, number) in numbers.iter().enumerate() {
                if *number != known.refused[table] {
                    known.refused[table] = *number;
                    known.since[table] = Some(now);
                }
                if known.since[table].is_some_and(|since| now.duration_since(since) < OVER_SHARE_FOR) {
                    let (namespace, pod) = (namespace.clone(), name.clone());
                    over.push(OverShare { namespace, pod, table: TABLES[table] });
                }
            }
        }
        over
    }
}
