//! The properties of a pod that selectors match, and the objects that have them.

use std::collections::BTreeMap;

use gatewatch_policy::{diagnostic::FieldPath, scope::PodScope};

use crate::templates::{POD, usual_path};

/// Labels or annotations: keys and values.
pub type Labels = BTreeMap<String, String>;

/// The fields of a container that a `containerSelector` matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Container {
    /// Its name in the pod.
    pub name: String,
    /// The image's repository, without tag and digest.
    pub repo: String,
}

/// Everything of a pod that selectors match. The same policies select pods of equal shape.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: Labels,
    /// Its containers, including init and ephemeral ones. `None` if they are not known, as with a metadata-only watch.
    /// Then every `containerSelector` matches.
    pub containers: Option<Vec<Container>>,
}

/// A pod, or an object with a template of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// `Pod`, `Deployment` and so on.
    pub kind: String,
    /// The path to its pod template, if that is not the usual one of its kind.
    pub template: Option<FieldPath>,
    /// Its name.
    pub name: String,
    /// The shape of the pod, or of the pods that are created from the template.
    pub shape: Shape,
    /// The labels of the object itself, if it has a template. No policy matches them.
    pub own_labels: Labels,
    /// `matchLabels` of the object's own selector.
    pub selector: Labels,
}

impl Workload {
    /// A pod.
    pub fn pod(name: impl Into<String>, shape: Shape) -> Self {
        Self { kind: POD.to_owned(), name: name.into(), shape, ..Self::default() }
    }

    /// Whether it is a pod, not an object with a template.
    pub fn is_pod(&self) -> bool {
        self.kind == POD
    }

    /// The field path of the labels that policies match.
    pub fn labels_path(&self) -> FieldPath {
        let template = self.template.clone().unwrap_or_else(|| usual_path(&self.kind));
        template.field("metadata").field("labels")
    }

    /// "this pod" or "its pods".
    pub(crate) fn pods(&self) -> &'static str {
        if self.is_pod() { "this pod" } else { "its pods" }
    }
}

/// One label replaced by another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relabel<'a> {
    /// The key of the label that is removed.
    pub(crate) removed: &'a str,
    /// The label that is added.
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
}

impl Shape {
    /// Whether a scope selects pods of this shape.
    pub fn is_selected_by(&self, scope: &PodScope) -> bool {
        scope.selects_pod(&self.namespace, &self.labels) && self.has_container_for(scope)
    }

    /// Whether the pods that a scope selects include one of this shape once a label is replaced.
    pub(crate) fn is_selected_after(&self, scope: &PodScope, relabel: Relabel<'_>) -> bool {
        let label = |key: &str| {
            if key == relabel.key {
                Some(relabel.value)
            } else if key == relabel.removed {
                None
            } else {
                self.labels.get(key).map(String::as_str)
            }
        };
        scope.selects_pod_by(&self.namespace, label) && self.has_container_for(scope)
    }

    fn has_container_for(&self, scope: &PodScope) -> bool {
        match &self.containers {
            Some(containers) if scope.containers.is_some() => {
                containers.iter().any(|c| scope.selects_container(&c.name, &c.repo))
            }
            _ => true,
        }
    }
}
