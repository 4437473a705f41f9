//! Watching one kind of objects, whatever happens to the API server.

use std::{fmt::Debug, future::Future};

use futures::StreamExt as _;
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;

use super::queue::{Objects, Queue};
use crate::{
    enforcement::{Mode, Settings},
    sources::Change,
};

/// What is done with the objects of a kind.
pub(super) trait Handler<K>: Send {
    /// These are all that there are.
    fn all(&mut self, objects: Vec<K>) -> impl Future<Output = ()> + Send;
    /// One was made or has changed.
    fn apply(&mut self, object: K) -> impl Future<Output = ()> + Send;
    /// One was deleted.
    fn delete(&mut self, object: K) -> impl Future<Output = ()> + Send;
}

/// Watches until it is dropped.
pub(super) async fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    objects: Objects,
    queue: Queue,
    mut handler: impl Handler<K>,
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut stream = std::pin::pin!(watcher::watcher(api, config).default_backoff());
    let mut listing = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                queue.well(objects);
                match event {
                    Event::Init => listing.clear(),
                    Event::InitApply(object) => listing.push(object),
                    Event::InitDone => {
                        handler.all(std::mem::take(&mut listing)).await;
                        queue.listed(objects);
                    }
                    Event::Apply(object) => handler.apply(object).await,
                    Event::Delete(object) => handler.delete(object).await,
                }
            }
            Err(error) => {
                match status(&error) {
                    // The kind isn't installed: so there is no object of it.
                    Some(404) => {
                        handler.all(Vec::new()).await;
                        queue.listed(objects);
                        queue.problem(
                            objects,
                            "the cluster does not have this kind; install Gatewatch's CRDs",
                        );
                    }
                    // Whatever a node selector says, it can't be known: so it is taken to match.
                    Some(403) if objects == Objects::Node => {
                        queue.push(Change::NodeLabels(None));
                        queue.listed(objects);
                        queue.problem(objects, &error.to_string());
                    }
                    // Nothing may be enforced if it isn't known whether it is switched off.
                    Some(403) if objects == Objects::Enforcement && !queue.is_listed(objects) => {
                        queue.push(Change::Enforcement(Settings {
                            all: Mode::Monitor,
                            ..Settings::default()
                        }));
                        queue.listed(objects);
                        queue.problem(objects, &format!("{error}; no policy enforces"));
                    }
                    // The API server has ended an old watch, and a new one begins; this is not a problem.
                    Some(410) => {}
                    _ => queue.problem(objects, &sentence(&error)),
                }
            }
        }
    }
}

/// An error with its causes, each said once.
fn sentence(error: &watcher::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// The status with which the API server rejected something.
fn status(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}
