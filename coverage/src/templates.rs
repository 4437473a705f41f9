//! The kinds that have pods in them, and the path to the pod template in their objects.

use std::{fmt, str::FromStr};

use gatewatch_policy::{
    diagnostic::{FieldPath, Step},
    source::Node,
};
use thiserror::Error;

/// The kind of a pod.
pub(crate) const POD: &str = "Pod";

/// The kinds of Kubernetes itself, with their groups.
pub const KINDS: &[(&str, &str)] = &[
    (POD, ""),
    ("PodTemplate", ""),
    ("ReplicationController", ""),
    ("DaemonSet", "apps"),
    ("Deployment", "apps"),
    ("ReplicaSet", "apps"),
    ("StatefulSet", "apps"),
    ("CronJob", "batch"),
    ("Job", "batch"),
];

/// Where other kinds may have a pod template: Argo's `Rollout`, `OpenShift`'s `DeploymentConfig`, Knative's `Service` and
/// many others have it where a `Deployment`, a `CronJob` or a `PodTemplate` has it.
const USUAL: [&str; 3] = ["Deployment", "CronJob", "PodTemplate"];

/// The path to the pod template in an object of this kind. For a pod, it is the object itself.
pub(crate) fn usual_path(kind: &str) -> FieldPath {
    let steps: &[&str] = match kind {
        POD => &[],
        "PodTemplate" => &["template"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template"],
        _ => &["spec", "template"],
    };
    steps.iter().fold(FieldPath::root(), |path, step| path.field(step))
}

/// The path to the pod template in objects of a kind that has it somewhere else. It is written as
/// `KIND.GROUP=PATH`, for example `Workload.example.com=spec.workload.template`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    kind: String,
    group: String,
    path: FieldPath,
}

/// A text that is not a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "invalid template {0:?}: expected KIND.GROUP=PATH, for example Workload.example.com=spec.workload.template"
)]
pub struct BadTemplate(String);

impl FromStr for Template {
    type Err = BadTemplate;

    fn from_str(text: &str) -> Result<Self, BadTemplate> {
        let bad = || BadTemplate(text.to_owned());
        let (name, path) = text.split_once('=').ok_or_else(bad)?;
        let (kind, group) = name.split_once('.').ok_or_else(bad)?;
        if kind.is_empty() || group.is_empty() || path.split('.').any(str::is_empty) {
            return Err(bad());
        }
        // An element of an array is written as a number.
        let path = path.split('.').fold(FieldPath::root(), |path, step| match step.parse() {
            Ok(index) => path.index(index),
            Err(_) => path.field(step),
        });
        Ok(Self { kind: kind.to_owned(), group: group.to_owned(), path })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}=", self.kind, self.group)?;
        for (i, step) in self.path.0.iter().enumerate() {
            let dot = if i > 0 { "." } else { "" };
            match step {
                Step::Field(name) => write!(f, "{dot}{name}")?,
                Step::Index(index) => write!(f, "{dot}{index}")?,
            }
        }
        Ok(())
    }
}

/// The templates that the user has set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Templates(Vec<Template>);

impl From<Vec<Template>> for Templates {
    fn from(all: Vec<Template>) -> Self {
        Self(all)
    }
}

impl Templates {
    /// The path that is set for a kind.
    pub fn path(&self, kind: &str, group: &str) -> Option<&FieldPath> {
        self.0
            .iter()
            .find(|template| template.kind == kind && template.group == group)
            .map(|found| &found.path)
    }

    /// The path to the pod template in an object: the one set for its kind, the usual one, or the first of the usual
    /// ones that has containers. `None` for an object without a pod template.
    pub(crate) fn find(&self, object: &Node, api_version: &str, kind: &str) -> Option<FieldPath> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        if let Some(path) = self.path(kind, group) {
            return has_containers(object, path).then(|| path.clone());
        }
        if KINDS.contains(&(kind, group)) {
            return Some(usual_path(kind));
        }
        USUAL.map(usual_path).into_iter().find(|path| has_containers(object, path))
    }
}

fn has_containers(object: &Node, path: &FieldPath) -> bool {
    let template = path.0.iter().try_fold(object, |node, step| node.step(step));
    let containers = template.and_then(|template| template.get("spec")?.get("containers"));
    containers.is_some_and(|list| !list.items().is_empty())
}

#[cfg(test)]
mod tests {
    use gatewatch_policy::source::parse;

    use super::*;

    #[test]
    fn templates_are_written_as_kind_and_path() {
        for text in ["Workload.example.com=spec.workload.template", "Set.example.com=spec.pools.0.template"] {
            assert_eq!(text.parse::<Template>().map(|template| template.to_string()), Ok(text.to_owned()));
        }
        for bad in
            ["", "Workload", "Workload=spec.template", "Workload.g=", ".g=spec", "Workload.g=spec..template"]
        {
            assert!(bad.parse::<Template>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_template_is_found_where_it_is_set() {
        let set = Templates(vec!["Workload.example.com=spec.workload.template".parse().unwrap()]);
        let object = |spec: &str| {
            let kind = "apiVersion: example.com/v1\nkind: Workload\nspec: ";
            parse(&format!("{kind}{{{spec}}}"))[0].root.clone()
        };
        let pods = "{spec: {containers: [{name: c}]}}";
        let find = |templates: &Templates, spec: &str| {
            templates.find(&object(spec), "example.com/v1", "Workload").map(|path| path.to_string())
        };
        let inside = format!("workload: {{template: {pods}}}");
        assert_eq!(find(&set, &inside).as_deref(), Some("spec.workload.template"));
        assert_eq!(find(&Templates::default(), &inside), None);
        assert_eq!(find(&set, &format!("template: {pods}")), None);
        assert_eq!(
            find(&Templates::default(), &format!("template: {pods}")).as_deref(),
            Some("spec.template")
        );
    }
}
