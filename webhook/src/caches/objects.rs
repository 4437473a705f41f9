//! The fields of objects that decide which policies select which pods. All others are skipped while parsing, so they
//! use no memory.

use gatewatch_coverage::{Container, Labels, Shape, Workload, read::repository};
use gatewatch_policy::diagnostic::{FieldPath, Step};
use kube::core::{NotUsed, Object};
use serde::Deserialize;
use serde_json::Value;

use crate::{agents::AgentPod, kernels::Node};

/// A watched pod, or a watched object with a template of pods.
pub type WorkloadObject = Object<Spec, NotUsed>;
/// A watched node.
pub type NodeObject = Object<NotUsed, NodeStatus>;
/// A watched pod of the agent.
pub type AgentPodObject = Object<AgentPodSpec, AgentPodStatus>;

/// The object of an admission review.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ReviewedObject {
    /// Its name and labels.
    #[serde(default)]
    pub metadata: Meta,
    /// Its specification.
    #[serde(default)]
    pub spec: Spec,
    /// The template of a `PodTemplate`, which has no `spec`.
    #[serde(default)]
    template: Option<Template>,
    /// The path to the template, if the user has set it.
    #[serde(skip)]
    template_path: Option<FieldPath>,
}

/// `metadata`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    #[serde(default)]
    name: String,
    #[serde(default)]
    generate_name: String,
    #[serde(default)]
    labels: Option<Labels>,
    /// Set while the object is being deleted.
    #[serde(default)]
    pub deletion_timestamp: Option<String>,
}

/// `spec` of a pod or of an object with a template.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    #[serde(default)]
    containers: Vec<ContainerSpec>,
    #[serde(default)]
    init_containers: Vec<ContainerSpec>,
    #[serde(default)]
    ephemeral_containers: Vec<ContainerSpec>,
    #[serde(default)]
    template: Option<Template>,
    #[serde(default)]
    job_template: Option<JobTemplate>,
    /// A label selector; for a `ReplicationController` only the labels.
    #[serde(default)]
    selector: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct ContainerSpec {
    #[serde(default)]
    name: String,
    #[serde(default)]
    image: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Template {
    #[serde(default)]
    metadata: Meta,
    #[serde(default)]
    spec: PodSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    #[serde(default)]
    containers: Vec<ContainerSpec>,
    #[serde(default)]
    init_containers: Vec<ContainerSpec>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct JobTemplate {
    #[serde(default)]
    spec: JobSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct JobSpec {
    #[serde(default)]
    template: Template,
}

/// `status` of a node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    #[serde(default)]
    addresses: Vec<NodeAddress>,
    #[serde(default)]
    node_info: NodeInfo,
}

/// An address of a node. Its `type` does not matter: a name is not an IP address.
#[derive(Clone, Debug, Default, Deserialize)]
struct NodeAddress {
    #[serde(default)]
    address: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeInfo {
    #[serde(default)]
    kernel_version: String,
    #[serde(default)]
    architecture: String,
    #[serde(default, rename = "bootID")]
    boot_id: String,
}

/// The specification of an agent's pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentPodSpec {
    #[serde(default)]
    node_name: String,
}

/// The status of an agent's pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentPodStatus {
    #[serde(default)]
    conditions: Vec<PodCondition>,
    #[serde(default, rename = "podIPs")]
    pod_ips: Vec<PodIp>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct PodCondition {
    #[serde(default, rename = "type")]
    type_: String,
    #[serde(default)]
    status: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct PodIp {
    #[serde(default)]
    ip: String,
}

/// The fields of a node that decide which policies run there.
pub fn node(object: NodeObject) -> (String, Node) {
    let NodeStatus { addresses, node_info: info } = object.status.unwrap_or_default();
    let node = Node {
        labels: object.metadata.labels.unwrap_or_default(),
        release: info.kernel_version,
        arch: info.architecture,
        boot_id: info.boot_id,
        addresses: addresses.iter().filter_map(|address| address.address.parse().ok()).collect(),
    };
    (object.metadata.name.unwrap_or_default(), node)
}

/// The fields of an agent's pod that tell whether the agent is alive. `None` for a pod of no `DaemonSet`, and for one
/// that has no node yet.
pub fn agent_pod(object: AgentPodObject) -> Option<(String, AgentPod)> {
    let meta = object.metadata;
    let controller = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    if controller.is_none_or(|owner| owner.kind != "DaemonSet") || object.spec.node_name.is_empty() {
        return None;
    }
    let status = object.status.unwrap_or_default();
    let ready = status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
    let pod = AgentPod {
        node: object.spec.node_name,
        uid: meta.uid.unwrap_or_default(),
        ready: ready && meta.deletion_timestamp.is_none(),
        addresses: status.pod_ips.iter().filter_map(|ip| ip.ip.parse().ok()).collect(),
    };
    Some((meta.name.unwrap_or_default(), pod))
}

/// The parts of a watched object that policies match. `None` for an object that another object creates from its own
/// template, such as the `ReplicaSet` of a `Deployment`. It would count twice.
pub fn cached_workload(kind: &str, object: WorkloadObject) -> Option<Workload> {
    let owned = object.metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true));
    if owned && kind != "Pod" {
        return None;
    }
    let meta = object.metadata;
    let name = meta.name.unwrap_or_default();
    Some(workload(
        kind,
        name,
        meta.namespace.unwrap_or_default(),
        meta.labels.unwrap_or_default(),
        object.spec,
        None,
    ))
}

impl ReviewedObject {
    /// Reads an object whose pod template is at a path that the user has set. Other parts of its `spec` may have any
    /// form.
    pub fn with_template(text: &str, path: &FieldPath) -> serde_json::Result<Self> {
        let object: Value = serde_json::from_str(text)?;
        let template = path.0.iter().try_fold(&object, |value, step| match step {
            Step::Field(name) => value.get(name.as_str()),
            Step::Index(index) => value.get(index),
        });
        let selector = object.get("spec").and_then(|spec| spec.get("selector")).cloned().unwrap_or_default();
        Ok(Self {
            metadata: object.get("metadata").map(Meta::deserialize).transpose()?.unwrap_or_default(),
            spec: Spec { selector, ..Spec::default() },
            template: template.map(Template::deserialize).transpose()?,
            template_path: Some(path.clone()),
        })
    }

    /// The parts of the object that policies match. A name that is not generated yet is its `generateName`.
    pub fn workload(self, kind: &str, namespace: &str) -> Workload {
        let Self { metadata: Meta { name, generate_name, labels, .. }, spec, template, template_path } = self;
        let name = if name.is_empty() { generate_name } else { name };
        let workload = workload(kind, name, namespace.to_owned(), labels.unwrap_or_default(), spec, template);
        Workload { template: template_path, ..workload }
    }
}

fn workload(
    kind: &str,
    name: String,
    namespace: String,
    labels: Labels,
    spec: Spec,
    at_root: Option<Template>,
) -> Workload {
    let Spec { containers, init_containers, ephemeral_containers, template, job_template, selector } = spec;
    if kind == "Pod" {
        let all = containers.into_iter().chain(init_containers).chain(ephemeral_containers);
        return Workload::pod(
            name,
            Shape { namespace, labels, containers: Some(all.map(container).collect()) },
        );
    }
    let template = at_root.or(template).or_else(|| job_template.map(|job| job.spec.template));
    let Template { metadata, spec } = template.unwrap_or_default();
    let all = spec.containers.into_iter().chain(spec.init_containers);
    Workload {
        kind: kind.to_owned(),
        name,
        shape: Shape {
            namespace,
            labels: metadata.labels.unwrap_or_default(),
            containers: Some(all.map(container).collect()),
        },
        own_labels: labels,
        selector: match_labels(kind, &selector),
        template: None,
    }
}

fn match_labels(kind: &str, selector: &Value) -> Labels {
    let plain = matches!(kind, "ReplicationController" | "DeploymentConfig");
    let labels = if plain { Some(selector) } else { selector.get("matchLabels") };
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn container(ContainerSpec { name, image }: ContainerSpec) -> Container {
    Container { name, repo: repository(&image).to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reviewed(object: Value, kind: &str) -> Workload {
        serde_json::from_value::<ReviewedObject>(object).unwrap().workload(kind, "ns")
    }

    #[test]
    fn a_pod_is_read_with_all_its_containers() {
        let pod = reviewed(
            json!({"metadata": {"generateName": "a-", "labels": {"x": "y"}, "managedFields": [{}]},
                "spec": {"containers": [{"name": "c", "image": "reg:5000/a/b:1@sha256:0"}],
                    "initContainers": [{"name": "i"}], "ephemeralContainers": [{"name": "e"}], "nodeName": "n"}}),
            "Pod",
        );
        assert_eq!((pod.name.as_str(), pod.shape.namespace.as_str()), ("a-", "ns"));
        let names: Vec<_> = pod.shape.containers.iter().flatten().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["c", "i", "e"]);
        assert_eq!(pod.shape.containers.unwrap()[0].repo, "reg:5000/a/b");
    }

    #[test]
    fn templates_are_read_wherever_they_stand() {
        let template = json!({"metadata": {"labels": {"x": "y"}}, "spec": {"containers": [{"name": "c"}]}});
        let selector = json!({"matchLabels": {"x": "y"}});
        for (kind, object) in [
            ("Deployment", json!({"spec": {"template": template, "selector": selector}})),
            ("ReplicationController", json!({"spec": {"template": template, "selector": {"x": "y"}}})),
            (
                "CronJob",
                json!({"spec": {"jobTemplate": {"spec": {"template": template, "selector": selector}}}}),
            ),
            ("PodTemplate", json!({"template": template})),
        ] {
            let workload = reviewed(object, kind);
            assert_eq!(workload.shape.labels.get("x").map(String::as_str), Some("y"), "{kind}");
            assert_eq!(workload.shape.containers.unwrap().len(), 1, "{kind}");
            let own = !matches!(kind, "CronJob" | "PodTemplate");
            assert_eq!(workload.selector.contains_key("x"), own, "{kind}");
        }
    }

    #[test]
    fn what_has_no_template_has_no_labels() {
        assert_eq!(reviewed(json!({"spec": {"selector": "odd"}}), "Deployment").shape.labels.len(), 0);
        assert_eq!(reviewed(json!({}), "Pod").shape.labels.len(), 0);
    }
}
