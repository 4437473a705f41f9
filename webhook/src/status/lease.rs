//! Which of the replicas writes: the one that holds the Lease. All of them answer requests.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::api::{Api, PostParams};

use crate::cluster::Cluster;

/// A Lease that is not renewed expires after this time.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// Interval of renewing or checking the Lease.
const RETRY_PERIOD: Duration = Duration::from_secs(3);
/// A replica that cannot renew the Lease stops leading after this time, which is before others acquire it.
const RENEW_DEADLINE: Duration = Duration::from_secs(12);
/// Time limit of one attempt, which is two requests. A server that accepts a request and does not answer must leave time
/// for another attempt before the deadline.
const ATTEMPT: Duration = Duration::from_secs(4);

/// A replica that tries to hold the Lease.
pub struct LeaseCandidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    /// The version of another replica's Lease, and when it was first observed. Clocks of other machines do not matter.
    seen: Option<(String, Instant)>,
    /// When the last successful renewal was sent. Others count from a later time: they have to receive it first.
    renewed: Option<Instant>,
}

impl LeaseCandidate {
    /// A candidate for the Lease with this name.
    pub fn new(api: Api<Lease>, name: String, identity: String) -> Self {
        Self { api, name, identity, seen: None, renewed: None }
    }

    /// Tries to hold the Lease, and updates [`Cluster::leadership`]. Never returns.
    pub async fn run(mut self, cluster: Arc<Cluster>) {
        let mut led = false;
        loop {
            match tokio::time::timeout(ATTEMPT, self.try_acquire_or_renew()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("the Lease {}: {error}", self.name),
                Err(_) => tracing::warn!("the Lease {}: no answer within {} s", self.name, ATTEMPT.as_secs()),
            }
            cluster.leadership.set(self.renewed.map(|sent| sent + RENEW_DEADLINE));
            let leads = cluster.leadership.holds();
            if led != leads {
                tracing::info!(identity = self.identity, leads, "the Lease");
            }
            led = leads;
            tokio::time::sleep(RETRY_PERIOD).await;
        }
    }

    async fn try_acquire_or_renew(&mut self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let mut lease = Lease { spec: Some(self.spec(0)), ..Lease::default() };
            lease.metadata.name = Some(self.name.clone());
            let sent = Instant::now();
            let created = self.api.create(&PostParams::default(), &lease).await;
            return self.record(sent, created);
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
            if !holder.is_empty() && since.elapsed() < LEASE_DURATION {
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
        let sent = Instant::now();
        let replaced = self.api.replace(&self.name, &PostParams::default(), &lease).await;
        self.record(sent, replaced)
    }

    fn record(&mut self, sent: Instant, written: Result<Lease, kube::Error>) -> Result<(), kube::Error> {
        match written {
            Ok(_) => {
                self.renewed = Some(sent);
                Ok(())
            }
            // Another replica was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}
