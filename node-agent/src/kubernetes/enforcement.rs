//! The `ConfigMap` with what policies may do.

use std::str::FromStr;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, runtime::watcher};

use super::{
    queue::{Objects, Queue},
    watch::{Handler, watch as watch_objects},
};
use crate::{enforcement::Settings, sources::Change};

/// A `ConfigMap` by its namespace and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMapName {
    namespace: String,
    name: String,
}

/// A text that names none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected NAMESPACE/NAME, found {0:?}")]
pub struct NotAName(String);

impl FromStr for ConfigMapName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(NotAName(text.to_owned())),
        }
    }
}

/// Watches it. Without a name there is nothing to wait for.
pub(super) async fn watch(client: Client, of: Option<ConfigMapName>, queue: Queue) {
    let Some(ConfigMapName { namespace, name }) = of else { return queue.listed(Objects::Enforcement) };
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let handler = Of { queue: queue.clone(), known: None };
    watch_objects(api, config, Objects::Enforcement, queue, handler).await;
}

struct Of {
    queue: Queue,
    known: Option<Settings>,
}

impl Of {
    fn take(&mut self, object: Option<ConfigMap>) {
        let data = object.and_then(|object| object.data).unwrap_or_default();
        let settings = Settings::read(&data);
        if self.known.as_ref() == Some(&settings) {
            return;
        }
        for problem in &settings.problems {
            tracing::error!("the ConfigMap of enforcement: {problem}");
        }
        self.known = Some(settings.clone());
        self.queue.push(Change::Enforcement(settings));
    }
}

impl Handler<ConfigMap> for Of {
    /// One that does not exist restricts nothing.
    async fn all(&mut self, mut objects: Vec<ConfigMap>) {
        match objects.pop() {
            None if self.known.is_some() => {}
            object => self.take(object),
        }
    }

    async fn apply(&mut self, object: ConfigMap) {
        self.take(Some(object));
    }

    /// A restriction isn't lifted by a mistake: the last one stays until the agent starts again.
    async fn delete(&mut self, _: ConfigMap) {
        tracing::warn!(
            "the ConfigMap of enforcement was deleted; its settings stay in force until the agent restarts"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{enforcement::Mode, sources::Source as _};

    fn map(mode: &str) -> ConfigMap {
        let data = BTreeMap::from([("enforcement".to_owned(), mode.to_owned())]);
        ConfigMap { data: Some(data), ..ConfigMap::default() }
    }

    fn given(queue: &mut Queue) -> Vec<Mode> {
        let mode = |change| match change {
            Change::Enforcement(settings) => settings.all,
            other => panic!("{other:?}"),
        };
        queue.poll().unwrap().into_iter().map(mode).collect()
    }

    #[tokio::test]
    async fn changes_are_given_once_and_stay() {
        let mut queue = Queue::default();
        let mut of = Of { queue: queue.clone(), known: None };
        of.all(Vec::new()).await;
        assert_eq!(given(&mut queue), [Mode::Enforce], "there is none");
        of.apply(map("off")).await;
        of.apply(map("off")).await;
        assert_eq!(given(&mut queue), [Mode::Off]);
        of.delete(map("off")).await;
        assert_eq!(given(&mut queue), []);
        of.all(Vec::new()).await;
        assert_eq!(given(&mut queue), [], "a mistake lifts no restriction");
        of.apply(map("no")).await;
        assert_eq!(given(&mut queue), [Mode::Monitor]);
    }

    #[test]
    fn names() {
        let name = ConfigMapName { namespace: "a".to_owned(), name: "b".to_owned() };
        assert_eq!("a/b".parse(), Ok(name));
        for text in ["", "a", "/b", "a/", "a/b/c"] {
            assert!(text.parse::<ConfigMapName>().is_err(), "{text}");
        }
    }
}
