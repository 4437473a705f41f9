//! Pods, workloads and namespaces from documents: YAML or an admission request.

use std::collections::BTreeMap;

use gatewatch_policy::{
    codes::WRONG_TYPE,
    diagnostic::{Diagnostic, Edit, FieldPath, Fix},
    source::{Node, Value},
};

use crate::{
    shape::{Container, Labels, Shape, Workload},
    templates::{Templates, usual_path},
};

/// The namespace of objects that do not set one, as in `kubectl`.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A namespace: its name and annotations.
pub type AnnotatedNamespace = (String, BTreeMap<String, String>);

/// Reads a pod or an object with a template of pods. Returns `None` for any other object. An object without a namespace
/// gets `default_namespace`. `templates` are the paths that the user has set. The diagnostics are about labels that the
/// API server rejects; their paths start at the object.
pub fn workload(
    object: &Node,
    default_namespace: &str,
    templates: &Templates,
) -> Option<(Workload, Vec<Diagnostic>)> {
    let text = |key| object.get(key).and_then(Node::as_str);
    let kind = text("kind")?;
    let template_at = templates.find(object, text("apiVersion")?, kind)?;
    let mut found = Vec::new();
    let template = template_at.0.iter().try_fold(object, |node, step| node.step(step));
    let at = |part: &str| FieldPath::root().field(part).field("labels");
    let own = labels(object.get("metadata").and_then(|m| m.get("labels")), &at("metadata"), &mut found);
    let is_pod = template_at.0.is_empty();
    let pod_labels = if is_pod {
        own.clone()
    } else {
        let at = template_at.field("metadata").field("labels");
        let node = template.and_then(|t| t.get("metadata")).and_then(|m| m.get("labels"));
        labels(node, &at, &mut found)
    };
    let shape = Shape {
        namespace: metadata(object, "namespace").unwrap_or_else(|| default_namespace.to_owned()),
        labels: pod_labels,
        containers: Some(containers(template)),
    };
    let workload = Workload {
        kind: kind.to_owned(),
        template: (template_at != usual_path(kind)).then_some(template_at),
        name: metadata(object, "name").or_else(|| metadata(object, "generateName")).unwrap_or_default(),
        shape,
        own_labels: if is_pod { Labels::new() } else { own },
        selector: if is_pod { Labels::new() } else { selector(object, kind) },
    };
    Some((workload, found))
}

/// Reads a namespace. Returns `None` for any other object.
pub fn namespace(object: &Node) -> Option<AnnotatedNamespace> {
    let text = |key| object.get(key).and_then(Node::as_str);
    if text("apiVersion") != Some("v1") || text("kind") != Some("Namespace") {
        return None;
    }
    let annotations = object.get("metadata").and_then(|m| m.get("annotations"));
    Some((metadata(object, "name")?, labels(annotations, &FieldPath::root(), &mut Vec::new())))
}

/// The repository of an image, without tag and digest.
pub fn repository(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    match image.rsplit_once(':') {
        // A colon before a slash separates the port of the registry.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

fn metadata(object: &Node, field: &str) -> Option<String> {
    let text = object.get("metadata")?.get(field)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn selector(object: &Node, kind: &str) -> Labels {
    let selector = object.get("spec").and_then(|spec| spec.get("selector"));
    let labels_of = |node| labels(node, &FieldPath::root(), &mut Vec::new());
    match kind {
        // Older than label selectors: the selector is the map of labels itself.
        "ReplicationController" | "DeploymentConfig" => labels_of(selector),
        _ => labels_of(selector.and_then(|selector| selector.get("matchLabels"))),
    }
}

fn containers(template: Option<&Node>) -> Vec<Container> {
    let spec = template.and_then(|template| template.get("spec"));
    let lists = ["initContainers", "containers", "ephemeralContainers"].into_iter();
    let nodes = lists.filter_map(|list| spec?.get(list)).flat_map(Node::items);
    nodes
        .map(|node| {
            let text = |key| node.get(key).and_then(Node::as_str).unwrap_or_default();
            Container { name: text("name").to_owned(), repo: repository(text("image")).to_owned() }
        })
        .collect()
}

/// Labels as written. A value that is not a string is reported, and read as written.
fn labels(node: Option<&Node>, path: &FieldPath, found: &mut Vec<Diagnostic>) -> Labels {
    let mut labels = Labels::new();
    let Some(Value::Map(entries)) = node.map(|node| &node.value) else { return labels };
    for entry in entries {
        let value = match &entry.value.value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                let written = entry.value.written.to_string();
                let path = path.field(&entry.key);
                let quoted = format!("\"{written}\"");
                let message = format!(
                    "expected a string as label value, found {} (`{written}`); the API server rejects the object",
                    entry.value.kind()
                );
                found.push(Diagnostic::new(&WRONG_TYPE, path.clone(), message).fix(Fix {
                    title: format!("quote it: `{quoted}`"),
                    path,
                    edit: Edit::Replace(quoted),
                    safe: true,
                }));
                written
            }
            Value::Null | Value::Seq(_) | Value::Map(_) => continue,
        };
        labels.insert(entry.key.clone(), value);
    }
    labels
}
