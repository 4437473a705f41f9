//! The secrets in the path, and when each is replaced. The result is a function of the existing ones and the time.
//!
//! A secret is replaced as often as the webhook's own certificate, in three steps, so that no request fails. First every
//! replica accepts the next secret. Then registrations get it. Last, no replica accepts the previous one.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use rustls::crypto::{CryptoProvider, GetRandomFailed};

/// Random bytes of a secret.
const BYTES: usize = 32;

/// A secret, and when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathSecret {
    /// 64 hexadecimal digits.
    pub text: String,
    /// When it was made, in whole seconds.
    pub since: SystemTime,
}

/// The secrets of the replicas, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation(Vec<PathSecret>);

impl Rotation {
    /// These secrets.
    pub fn new(mut secrets: Vec<PathSecret>) -> Self {
        secrets.sort_by_key(|secret| secret.since);
        Self(secrets)
    }

    /// All secrets that a replica accepts.
    pub fn accepted(&self) -> Vec<String> {
        self.0.iter().map(|secret| secret.text.clone()).collect()
    }

    /// The secrets with their times.
    pub fn all(&self) -> &[PathSecret] {
        &self.0
    }

    /// The secret that registrations have: the newest that every replica has had time to read, or the only one.
    pub fn registered(&self, settle: Duration, now: SystemTime) -> Option<&str> {
        self.registered_at(settle, now).and_then(|at| self.0.get(at)).map(|secret| secret.text.as_str())
    }

    fn registered_at(&self, settle: Duration, now: SystemTime) -> Option<usize> {
        let settled = self.0.iter().rposition(|secret| age(secret, now) >= settle);
        settled.or((!self.0.is_empty()).then_some(0))
    }

    /// The secrets that must replace these now, or `None` if nothing is due. A secret lives for two thirds of `life`,
    /// the lifetime of a certificate.
    pub fn advance(
        &self,
        (life, settle): (Duration, Duration),
        now: SystemTime,
        provider: &CryptoProvider,
    ) -> Result<Option<Self>, GetRandomFailed> {
        let mut new = self.clone();
        // Registrations have had the newer one for long enough, too.
        if let Some(at) = self.registered_at(settle, now)
            && self.0.get(at).is_some_and(|secret| age(secret, now) >= settle * 2)
        {
            new.0.drain(..at);
        }
        if new.0.last().is_none_or(|newest| age(newest, now) >= life * 2 / 3) {
            new.0.push(PathSecret { text: random(provider)?, since: whole_seconds(now) });
        }
        Ok((new != *self).then_some(new))
    }
}

/// The age of a secret. One of the future was made by a replica whose clock is ahead.
fn age(secret: &PathSecret, now: SystemTime) -> Duration {
    now.duration_since(secret.since).unwrap_or_default()
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

fn random(provider: &CryptoProvider) -> Result<String, GetRandomFailed> {
    let mut bytes = [0; BYTES];
    provider.secure_random.fill(&mut bytes)?;
    Ok(bytes.iter().fold(String::with_capacity(2 * BYTES), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::provider;

    #[test]
    fn a_secret_is_accepted_before_and_after_it_is_registered() {
        let hour = Duration::from_hours(1);
        let (life, settle) = (90 * hour, hour);
        let start = SystemTime::UNIX_EPOCH + 500_000 * hour;
        let at = |hours: u32| start + hours * hour;
        let step = |rotation: &Rotation, hours: u32| {
            rotation
                .advance((life, settle), at(hours), &provider())
                .unwrap()
                .unwrap_or_else(|| rotation.clone())
        };
        let first = step(&Rotation::default(), 0);
        let registered =
            |rotation: &Rotation, hours| rotation.registered(settle, at(hours)).unwrap().to_owned();
        let old = registered(&first, 0);
        assert_eq!(old.len(), 64);
        assert_eq!(step(&first, 59), first);
        let both = step(&first, 60);
        assert_eq!((both.accepted().len(), registered(&both, 60)), (2, old.clone()));
        // Every replica has read it.
        let new = registered(&both, 61);
        assert_ne!(new, old);
        assert_eq!(step(&both, 61), both);
        let last = step(&both, 62);
        assert_eq!(last.accepted(), [new]);
    }

    #[test]
    fn a_clock_that_was_set_back_changes_nothing() {
        let now = SystemTime::now();
        let hour = Duration::from_hours(1);
        let rotation = Rotation::default().advance((hour, hour), now, &provider()).unwrap().unwrap();
        assert_eq!(rotation.advance((hour, hour), now - hour, &provider()).unwrap(), None);
        assert!(rotation.registered(hour, now - hour).is_some());
    }
}
