//! Whom a policy watches, and whether that includes a pod or a container: the one place that knows how selectors of
//! workloads combine. The agent decides by it what is counted, and the gate what is reported.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    labels::NAMESPACE_KEY,
    model::{Kind, LabelSelector, Policy},
};

/// Whom a policy watches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The host's own processes.
    pub host: bool,
    /// Containers of pods; `None`: no pods at all.
    pub pods: Option<PodScope>,
}

/// Which containers a policy watches: all conditions hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodScope {
    /// Only pods of this namespace.
    pub namespace: Option<String>,
    /// Only pods with these labels.
    pub pods: Option<LabelSelector>,
    /// Only containers with these `name` and `repo`.
    pub containers: Option<LabelSelector>,
}

impl Scope {
    /// Whom a policy watches. With none of the three selectors, or with all three empty, that is everything, the host
    /// too; a selector of pods or of containers alone, even an empty one, leaves the host out.
    pub fn of(policy: &Policy) -> Self {
        let spec = &policy.spec;
        let namespaced = policy.kind == Kind::Namespaced;
        let selectors = [&spec.host_selector, &spec.pod_selector, &spec.container_selector];
        let everything = selectors.iter().all(|selector| selector.is_none())
            || selectors.iter().all(|selector| selector.as_ref().is_some_and(LabelSelector::is_empty));
        let pods_named = spec.pod_selector.is_some() || spec.container_selector.is_some();
        let restriction = |selector: &Option<LabelSelector>| selector.clone().filter(|s| !s.is_empty());
        Self {
            host: !namespaced && (everything || spec.host_selector.is_some()),
            pods: (namespaced || everything || pods_named).then(|| PodScope {
                namespace: if namespaced { policy.namespace.clone() } else { None },
                pods: restriction(&spec.pod_selector),
                containers: restriction(&spec.container_selector),
            }),
        }
    }
}

impl PodScope {
    /// Whether a pod of this namespace and these labels is selected, whatever its containers are.
    pub fn selects_pod(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        self.selects_pod_by(namespace, |key| labels.get(key).map(String::as_str))
    }

    /// The same for labels that are looked up.
    pub fn selects_pod_by<'a>(&self, namespace: &'a str, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
            && self.pods.as_ref().is_none_or(|selector| {
                // A label of the synthetic key wins over the value of the key.
                selector.matches_by(|key| label(key).or((key == NAMESPACE_KEY).then_some(namespace)))
            })
    }

    /// Whether a container of a pod that is selected is selected.
    pub fn selects_container(&self, name: &str, repo: &str) -> bool {
        self.containers.as_ref().is_none_or(|selector| {
            selector.matches_by(|key| match key {
                "name" => Some(name),
                "repo" => Some(repo),
                _ => None,
            })
        })
    }
}
