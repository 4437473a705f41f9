//! One watch: lists, then receives changes. Lists again if the API server no longer has the changes since (410).

use std::{collections::HashSet, fmt::Debug, sync::atomic::Ordering, time::Duration};

use futures::StreamExt as _;
use kube::{
    Resource, ResourceExt as _,
    api::Api,
    runtime::{
        WatchStreamExt as _,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

use super::{Cache, Health};

/// Time before an interrupted watch restarts; doubles up to the second. A webhook that does not see changes decides by old
/// ones, so the maximum is much shorter than the usual 30 s. There are few replicas.
const RESTART: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// The waits between the restarts of a watch.
pub(crate) struct Restarts(Duration);

impl Default for Restarts {
    fn default() -> Self {
        Self(RESTART.0)
    }
}

impl Iterator for Restarts {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.0;
        self.0 = (wait * 2).min(RESTART.1);
        Some(wait)
    }
}

impl Backoff for Restarts {
    fn reset(&mut self) {
        self.0 = RESTART.0;
    }
}

/// A change of a cache.
#[derive(Debug)]
pub enum Change<T> {
    /// An object was created or changed.
    Apply(T),
    /// An object was deleted.
    Delete(Name),
    /// The complete list of objects.
    Reset(Vec<T>),
}

/// Identifies an object of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Empty for a cluster-scoped object.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Name {
    /// The name of an object.
    pub fn of(object: &impl Resource) -> Self {
        Self { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }
}

/// Watches a kind and never returns. `read` extracts the cached parts of an object, `None` for an object that is not
/// cached, or the reason why it cannot be read. `act` receives the changes in order.
///
/// An unreadable object is skipped, counted and logged. An interrupted watch restarts with backoff.
pub async fn watch<K, T>(
    api: Api<K>,
    config: watcher::Config,
    (cache, health): (Cache, &Health),
    read: impl Fn(K) -> Result<Option<T>, String>,
    mut act: impl FnMut(Change<T>),
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut stream = std::pin::pin!(watcher(api, config).backoff(Restarts::default()));
    let mut names = HashSet::new();
    let mut initial: Option<Vec<T>> = None;
    let read = |object: K, names: &mut HashSet<Name>| {
        let name = Name::of(&object);
        match read(object) {
            Ok(object) => {
                names.insert(name);
                object
            }
            Err(error) => {
                health.unreadable.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    kind = cache.name(),
                    namespace = name.namespace,
                    name = name.name,
                    "skipping an unreadable object: {error}"
                );
                names.remove(&name);
                None
            }
        }
    };
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => {
                names.clear();
                initial = Some(Vec::new());
            }
            Ok(Event::InitApply(object)) => {
                if let Some(object) = read(object, &mut names) {
                    initial.get_or_insert_default().push(object);
                }
            }
            Ok(Event::InitDone) => {
                act(Change::Reset(initial.take().unwrap_or_default()));
                health.lists.fetch_add(1, Ordering::Relaxed);
                health.synced.store(true, Ordering::Release);
            }
            Ok(Event::Apply(object)) => {
                let name = Name::of(&object);
                match read(object, &mut names) {
                    Some(object) => act(Change::Apply(object)),
                    // The previous version of the object is no longer valid.
                    None => act(Change::Delete(name)),
                }
            }
            Ok(Event::Delete(object)) => {
                let name = Name::of(&object);
                names.remove(&name);
                act(Change::Delete(name));
            }
            Err(error) => {
                health.errors.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(kind = cache.name(), "the watch was interrupted and restarts: {error}");
                continue;
            }
        }
        health.record_contact();
        health.objects.store(names.len() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_wait_longer_and_never_long() {
        let mut restarts = Restarts::default();
        let waits: Vec<u128> = restarts.by_ref().take(6).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
        restarts.reset();
        assert_eq!(restarts.next(), Some(RESTART.0));
    }
}
