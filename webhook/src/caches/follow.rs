//! One watch: lists, then follows changes; lists again where the API server has forgotten what came since (410).

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::atomic::Ordering;

use futures::StreamExt as _;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::{Cache, Health};

/// What has changed.
#[derive(Debug)]
pub enum Change<T> {
    /// An object is new or other than it was.
    Apply(T),
    /// An object is gone.
    Delete(Name),
    /// These are all.
    Reset(Vec<T>),
}

/// Which object of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Empty for one of the cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Name {
    /// Of an object.
    pub fn of(object: &impl Resource) -> Self {
        Self { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }
}

/// Follows a kind for ever. `read` makes of an object what is kept of it, nothing of one that doesn't matter, or a
/// sentence about why it can't; `act` is told of changes, one after the other.
///
/// An object that can't be read is left out, counted and logged; it stops nothing. A watch that breaks is begun again, at
/// growing intervals.
pub async fn follow<K, T>(
    api: Api<K>,
    config: watcher::Config,
    (cache, health): (Cache, &Health),
    read: impl Fn(K) -> Result<Option<T>, String>,
    mut act: impl FnMut(Change<T>),
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut stream = std::pin::pin!(watcher(api, config).default_backoff());
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
                    // What was read before isn't there any more.
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
        health.heard();
        health.objects.store(names.len() as u64, Ordering::Relaxed);
    }
}
