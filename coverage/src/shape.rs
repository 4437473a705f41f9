//! The properties of a pod that selectors match, and the objects that have them.

use std::collections::BTreeMap;

use gatewatch_policy::diagnostic::FieldPath;
use gatewatch_policy::scope::PodScope;

/// Keys and values.
pub type Labels = BTreeMap<String, String>;

/// A container, as a `containerSelector` sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Container {
    /// Its name in the pod.
    pub name: String,
    /// The image's repository, without tag and digest.
    pub repo: String,
}

/// All that selectors can see of a pod. Pods with equal shapes are selected by the same policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: Labels,
    /// Its containers, init and ephemeral ones too; `None` where they aren't known (a watch of metadata alone). Then
    /// a `containerSelector` is taken to find one.
    pub containers: Option<Vec<Container>>,
}

/// A pod, or an object with a template of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// `Pod`, `Deployment` and so on.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Of the pod itself, or of the pods that are made from the template.
    pub shape: Shape,
    /// The labels of the object itself, for one with a template: no policy looks at them.
    pub own_labels: Labels,
    /// `matchLabels` of the object's own selector.
    pub selector: Labels,
}

/// What the kind of a pod is called.
pub(crate) const POD: &str = "Pod";

impl Workload {
    /// A pod.
    pub fn pod(name: impl Into<String>, shape: Shape) -> Self {
        Self { kind: POD.to_owned(), name: name.into(), shape, ..Self::default() }
    }

    /// Whether it is a pod and no template.
    pub fn is_pod(&self) -> bool {
        self.kind == POD
    }

    /// Where the labels stand that policies look at.
    pub fn labels_path(&self) -> FieldPath {
        template_path(&self.kind).field("metadata").field("labels")
    }

    /// "this pod" or "its pods".
    pub(crate) fn pods(&self) -> &'static str {
        if self.is_pod() { "this pod" } else { "its pods" }
    }
}

/// Where the template of pods stands in an object of this kind; the object itself for a pod.
pub(crate) fn template_path(kind: &str) -> FieldPath {
    let steps: &[&str] = match kind {
        POD => &[],
        "PodTemplate" => &["template"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template"],
        _ => &["spec", "template"],
    };
    steps.iter().fold(FieldPath::root(), |path, step| path.field(step))
}

/// A label that is taken in place of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    /// The key that goes.
    pub(crate) without: &'a str,
    /// The label that comes.
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
}

impl Shape {
    /// Whether the pods that a scope names include one of this shape.
    pub fn is_selected_by(&self, scope: &PodScope) -> bool {
        scope.selects_pod(&self.namespace, &self.labels) && self.has_container_for(scope)
    }

    /// The same as if one label were another.
    pub(crate) fn is_selected_with(&self, scope: &PodScope, change: Change<'_>) -> bool {
        let label = |key: &str| {
            if key == change.key {
                Some(change.value)
            } else if key == change.without {
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
