//! Which of the replicas writes: the one that holds the Lease. All of them answer requests.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};

use crate::cluster::Cluster;

/// How long a Lease holds that isn't renewed.
const HOLDS: Duration = Duration::from_secs(15);
/// How often it is renewed, or looked at.
const EVERY: Duration = Duration::from_secs(3);
/// For how long a Lease that couldn't be renewed is still counted as held: others take it a little later.
const TRUSTED: Duration = Duration::from_secs(12);

/// One replica's part in the Lease.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    /// The version of another's Lease, and when it was first seen here: clocks of other machines aren't asked.
    seen: Option<(String, Instant)>,
    renewed: Option<Instant>,
}

impl Candidate {
    /// A candidate for the Lease of this name.
    pub fn new(api: Api<Lease>, name: String, identity: String) -> Self {
        Self { api, name, identity, seen: None, renewed: None }
    }

    /// Tries to hold the Lease, for ever; keeps [`Cluster::leads`].
    pub async fn stand(mut self, cluster: Arc<Cluster>) {
        loop {
            if let Err(error) = self.step().await {
                tracing::warn!("the Lease {}: {error}", self.name);
            }
            // What can't be renewed in time is another's.
            let leads = self.renewed.is_some_and(|at| at.elapsed() < TRUSTED);
            if cluster.leads.swap(leads, Ordering::AcqRel) != leads {
                tracing::info!(identity = self.identity, leads, "the Lease");
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn step(&mut self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let mut lease = Lease { spec: Some(self.spec(0)), ..Lease::default() };
            lease.metadata.name = Some(self.name.clone());
            let created = self.api.create(&PostParams::default(), &lease).await;
            return self.settle(created);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        let mine = holder == self.identity;
        if !mine {
            self.renewed = None;
            let version = lease.metadata.resource_version.clone().unwrap_or_default();
            let since = match &self.seen {
                Some((seen, since)) if *seen == version => *since,
                _ => self.seen.insert((version, Instant::now())).1,
            };
            if !holder.is_empty() && since.elapsed() < HOLDS {
                return Ok(());
            }
        }
        let changes = spec.lease_transitions.unwrap_or(0);
        let acquired = spec.acquire_time.filter(|_| mine);
        let mut new = self.spec(if mine { changes } else { changes + 1 });
        if acquired.is_some() {
            new.acquire_time = acquired;
        }
        lease.spec = Some(new);
        lease.metadata.managed_fields = None;
        let replaced = self.api.replace(&self.name, &PostParams::default(), &lease).await;
        self.settle(replaced)
    }

    fn settle(&mut self, written: Result<Lease, kube::Error>) -> Result<(), kube::Error> {
        match written {
            Ok(_) => {
                self.renewed = Some(Instant::now());
                Ok(())
            }
            // Somebody else was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(HOLDS.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}
