//! Who may send reviews: clients that know the secret in the registered path. Only the registration and the Secret of the
//! replicas contain it, so other pods of the cluster cannot make the webhook work.

pub mod rotation;

use std::fmt;

use arc_swap::ArcSwap;
use subtle::{Choice, ConstantTimeEq as _};

/// The secrets that requests may have in their path. During a rotation there are several.
#[derive(Default)]
pub struct PathSecrets(ArcSwap<Vec<String>>);

impl PathSecrets {
    /// Accepts exactly these from now on.
    pub fn replace(&self, secrets: Vec<String>) {
        if **self.0.load() != secrets {
            self.0.store(secrets.into());
        }
    }

    /// Whether there is a secret that requests can have.
    pub fn is_loaded(&self) -> bool {
        !self.0.load().is_empty()
    }

    /// Whether a request may have this secret. The time does not depend on how much of it is right.
    pub fn accepts(&self, given: &str) -> bool {
        let secrets = self.0.load();
        let found = secrets
            .iter()
            .fold(Choice::from(0), |found, secret| found | secret.as_bytes().ct_eq(given.as_bytes()));
        found.into()
    }
}

impl fmt::Debug for PathSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathSecrets").field("count", &self.0.load().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_secrets_are_accepted() {
        let secrets = PathSecrets::default();
        assert!(!secrets.is_loaded() && !secrets.accepts(""));
        secrets.replace(vec!["one".to_owned(), "other".to_owned()]);
        assert!(secrets.is_loaded() && secrets.accepts("one") && secrets.accepts("other"));
        for wrong in ["", "on", "ones", "One", "two", "one/other"] {
            assert!(!secrets.accepts(wrong), "{wrong}");
        }
        secrets.replace(vec!["two".to_owned()]);
        assert!(secrets.accepts("two") && !secrets.accepts("one"));
        assert!(!format!("{secrets:?}").contains("two"), "a log could contain it");
    }
}
