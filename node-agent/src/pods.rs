//! Pods, as the agent needs them: who a cgroup belongs to, and what policies can select it by.

mod file;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{self as core, ContainerState, ContainerStatus},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use serde::{Deserialize, Serialize};

pub use file::{PodFile, PodFileError, parse_pods};

/// Set by kubelet on the object that stands for a static pod in the API server
/// (`ConfigMirrorAnnotationKey` in `pkg/kubelet/types/constants.go`).
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// The uid that kubelet gave a static pod; its cgroups carry this one and not the mirror object's
/// (`ConfigHashAnnotationKey`, same file).
const STATIC_UID_ANNOTATION: &str = "kubernetes.io/config.hash";
/// What a Deployment's `ReplicaSet` adds to its own name and to its pods' labels
/// (`DefaultDeploymentUniqueLabelKey` in `k8s.io/api/apps/v1`).
const TEMPLATE_HASH_LABEL: &str = "pod-template-hash";

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// The uid in its cgroups' names. For a static pod that is the one that kubelet gave it.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// What users know it by: the Deployment, `StatefulSet` and so on that it belongs to.
    pub workload: Workload,
    /// Its containers: init containers and ephemeral ones too. A container that was restarted is here once for
    /// each runtime id that is known.
    pub containers: Vec<Container>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// Whether this is the mirror object of a static pod. Its [`uid`](Self::uid) comes from an annotation, so
    /// where two pods claim one uid, another pod's claim is better.
    pub mirror: bool,
}

/// The object that a pod belongs to, as `kubectl get` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Workload {
    /// `Deployment`, `CronJob`, … or `Pod` for a pod of its own.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name in the pod.
    pub name: String,
    /// The image's repository, without tag and digest: `docker.io/library/nginx`. As the container runtime
    /// names it once it runs, before that as the pod's specification does.
    pub repo: String,
    /// The runtime's id, without its scheme; `None` until it is started.
    pub id: Option<String>,
}

/// The uid that kubelet gave the static pod that this is the mirror of. kubelet makes a mirror that its node owns, so others
/// need a right on nodes for that, where the API server enforces it (`OwnerReferencesPermissionEnforcement`).
fn static_uid(pod: &core::Pod) -> Option<&String> {
    let meta = &pod.metadata;
    let annotation = |key| meta.annotations.as_ref().and_then(|all| all.get(key));
    let of_node = |owner: &OwnerReference| owner.kind == "Node" && owner.api_version == "v1";
    let believed =
        annotation(MIRROR_ANNOTATION).is_some() && meta.owner_references.iter().flatten().any(of_node);
    annotation(STATIC_UID_ANNOTATION).filter(|_| believed)
}

impl Pod {
    /// The pods of an object: the object itself first, then the static pod that it mirrors. A mirror has no cgroup under its
    /// own uid. A pod that only claims to be a mirror has one, and its events are its own.
    pub fn all_of(pod: &core::Pod) -> Vec<Self> {
        let own = Self::from(pod);
        let mirror = static_uid(pod).map(|uid| Self { uid: uid.clone(), mirror: true, ..own.clone() });
        [Some(own), mirror].into_iter().flatten().collect()
    }
}

impl From<&core::Pod> for Pod {
    /// The object itself, see [`all_of`](Pod::all_of).
    fn from(pod: &core::Pod) -> Self {
        let meta = &pod.metadata;
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            labels: meta.labels.clone().unwrap_or_default(),
            workload: workload(pod),
            containers: containers(pod),
            host_network: pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false),
            mirror: false,
        }
    }
}

/// The workload, read from the pod alone: the objects between it and its Deployment or `CronJob` aren't
/// fetched, their names are made by rule.
fn workload(pod: &core::Pod) -> Workload {
    let meta = &pod.metadata;
    let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    // A mirror pod's owner is its Node, which is where it runs and not what it is.
    let Some(owner) = owner.filter(|owner| owner.kind != "Node") else {
        return Workload { kind: "Pod".to_owned(), name: meta.name.clone().unwrap_or_default() };
    };
    let template_hash = meta.labels.as_ref().and_then(|labels| labels.get(TEMPLATE_HASH_LABEL));
    let above = match owner.kind.as_str() {
        "ReplicaSet" => template_hash
            .filter(|hash| !hash.is_empty())
            .and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'))
            .map(|name| ("Deployment", name)),
        "Job" => scheduled_by(&owner.name).map(|name| ("CronJob", name)),
        _ => None,
    };
    let (kind, name) =
        above.filter(|(_, name)| !name.is_empty()).unwrap_or((owner.kind.as_str(), owner.name.as_str()));
    Workload { kind: kind.to_owned(), name: name.to_owned() }
}

/// The `CronJob` of a Job that is named `NAME-TIME`. The time is in minutes since 1970 (8 digits until 2160; see
/// `getJobName` in `pkg/controller/cronjob/utils.go`), and was in seconds before Kubernetes 1.21 (10 digits).
fn scheduled_by(job: &str) -> Option<&str> {
    let (name, time) = job.rsplit_once('-')?;
    ((8..=10).contains(&time.len()) && time.bytes().all(|b| b.is_ascii_digit())).then_some(name)
}

fn containers(pod: &core::Pod) -> Vec<Container> {
    let mut images: BTreeMap<&str, &str> = BTreeMap::new();
    if let Some(spec) = &pod.spec {
        let regular = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        images.extend(regular.map(|c| (c.name.as_str(), c.image.as_deref().unwrap_or_default())));
        let ephemeral = spec.ephemeral_containers.iter().flatten();
        images.extend(ephemeral.map(|c| (c.name.as_str(), c.image.as_deref().unwrap_or_default())));
    }
    let mut found = Vec::new();
    if let Some(status) = &pod.status {
        let init = status.init_container_statuses.iter().flatten();
        let regular = status.container_statuses.iter().flatten();
        let ephemeral = status.ephemeral_container_statuses.iter().flatten();
        for status in init.chain(regular).chain(ephemeral) {
            let image = images.remove(status.name.as_str()).unwrap_or_default();
            let repo = [&status.image_id, &status.image, image]
                .into_iter()
                .map(repository)
                .find(|repo| !repo.is_empty())
                .unwrap_or_default();
            let container = |id| Container { name: status.name.clone(), repo: repo.to_owned(), id };
            let ids = runtime_ids(status);
            if ids.is_empty() {
                found.push(container(None));
            }
            found.extend(ids.into_iter().map(|id| container(Some(id))));
        }
    }
    found.extend(images.into_iter().map(|(name, image)| Container {
        name: name.to_owned(),
        repo: repository(image).to_owned(),
        id: None,
    }));
    found
}

/// Every runtime id that a status knows: of the run that it describes, and of the one before.
fn runtime_ids(status: &ContainerStatus) -> Vec<String> {
    let ended = |state: &Option<ContainerState>| {
        state.as_ref().and_then(|s| s.terminated.as_ref()).and_then(|t| t.container_id.clone())
    };
    let mut ids = Vec::new();
    for id in
        [status.container_id.clone(), ended(&status.state), ended(&status.last_state)].into_iter().flatten()
    {
        let id = id.rsplit_once("://").map_or(id.as_str(), |(_, id)| id).to_owned();
        if !id.is_empty() && !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

/// The repository of an image reference: what stands before tag and digest. Empty for a bare digest, by which
/// runtimes name an image that has no repository.
fn repository(image: &str) -> &str {
    // dockershim wrote `docker-pullable://repository@digest`.
    let image = image.rsplit_once("://").map_or(image, |(_, image)| image);
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    if image.starts_with("sha256:") {
        return "";
    }
    // A colon that isn't in the last part separates a registry's port.
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(value: serde_json::Value) -> Pod {
        Pod::from(&serde_json::from_value::<core::Pod>(value).unwrap())
    }

    fn owned(kind: &str, owner: &str, labels: &[(&str, &str)]) -> Workload {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        pod(json!({"metadata": {"name": "p", "labels": labels, "ownerReferences": [
            {"apiVersion": "v1", "kind": "Elsewhere", "name": "other", "uid": "1"},
            {"apiVersion": "v1", "kind": kind, "name": owner, "uid": "2", "controller": true},
        ]}}))
        .workload
    }

    #[test]
    fn workload_is_what_users_know() {
        let hash = [("pod-template-hash", "6c4bfd8d5")];
        for (kind, owner, labels, want_kind, want) in [
            ("ReplicaSet", "deathstar-6c4bfd8d5", &hash[..], "Deployment", "deathstar"),
            ("ReplicaSet", "two-words-6c4bfd8d5", &hash[..], "Deployment", "two-words"),
            // A ReplicaSet of its own.
            ("ReplicaSet", "deathstar-6c4bfd8d5", &[][..], "ReplicaSet", "deathstar-6c4bfd8d5"),
            ("ReplicaSet", "deathstar", &hash[..], "ReplicaSet", "deathstar"),
            // Only a whole last part is the hash.
            ("ReplicaSet", "deathstar6c4bfd8d5", &hash[..], "ReplicaSet", "deathstar6c4bfd8d5"),
            ("ReplicaSet", "-6c4bfd8d5", &hash[..], "ReplicaSet", "-6c4bfd8d5"),
            ("ReplicaSet", "a-", &[("pod-template-hash", "")][..], "ReplicaSet", "a-"),
            ("Job", "backup-29112480", &[][..], "CronJob", "backup"),
            ("Job", "backup-1718000000", &[][..], "CronJob", "backup"),
            ("Job", "backup", &[][..], "Job", "backup"),
            ("Job", "backup-2024", &[][..], "Job", "backup-2024"),
            ("Job", "backup-29112480x", &[][..], "Job", "backup-29112480x"),
            ("Job", "backup-17180000001", &[][..], "Job", "backup-17180000001"),
            ("StatefulSet", "db", &[][..], "StatefulSet", "db"),
            ("DaemonSet", "log", &[][..], "DaemonSet", "log"),
            ("Node", "node-1", &[][..], "Pod", "p"),
        ] {
            let got = owned(kind, owner, labels);
            assert_eq!((got.kind.as_str(), got.name.as_str()), (want_kind, want), "{kind} {owner}");
        }
        let alone = pod(json!({"metadata": {"name": "tiefighter", "ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "not-a-controller", "uid": "1"}]}}));
        assert_eq!(alone.workload, Workload { kind: "Pod".into(), name: "tiefighter".into() });
    }

    #[test]
    fn repository_of_an_image() {
        for (image, want) in [
            ("nginx", "nginx"),
            ("nginx:1.27", "nginx"),
            ("docker.io/library/nginx:1.27", "docker.io/library/nginx"),
            ("localhost:5000/team/app", "localhost:5000/team/app"),
            ("localhost:5000/team/app:v1", "localhost:5000/team/app"),
            ("quay.io/a/b@sha256:0123", "quay.io/a/b"),
            ("quay.io/a/b:v1@sha256:0123", "quay.io/a/b"),
            ("docker-pullable://quay.io/a/b@sha256:0123", "quay.io/a/b"),
            ("sha256:0123", ""),
            ("", ""),
        ] {
            assert_eq!(repository(image), want, "{image}");
        }
    }

    #[test]
    fn containers_of_every_sort() {
        let pod = pod(json!({
            "metadata": {"name": "p"},
            "spec": {
                "hostNetwork": true,
                "containers": [{"name": "main", "image": "nginx"}, {"name": "late", "image": "busybox:1"}],
                "initContainers": [{"name": "init", "image": "alpine"}],
                "ephemeralContainers": [{"name": "debugger", "image": "tools:2"}],
            },
            "status": {
                "containerStatuses": [{
                    "name": "main", "image": "docker.io/library/nginx:latest", "ready": true, "restartCount": 1,
                    "imageID": "docker.io/library/nginx@sha256:99", "containerID": "containerd://m2",
                    "state": {"running": {}}, "lastState": {"terminated": {"containerID": "containerd://m1", "exitCode": 1}},
                }],
                "initContainerStatuses": [{
                    "name": "init", "image": "sha256:77", "imageID": "sha256:77", "ready": true, "restartCount": 0,
                    "containerID": "cri-o://i1", "state": {"terminated": {"containerID": "cri-o://i1", "exitCode": 0}},
                }],
                "ephemeralContainerStatuses": [{
                    "name": "debugger", "image": "docker.io/library/tools:2", "imageID": "", "ready": false,
                    "restartCount": 0, "state": {"waiting": {}},
                }],
            },
        }));
        let got: Vec<_> =
            pod.containers.iter().map(|c| (c.name.as_str(), c.repo.as_str(), c.id.as_deref())).collect();
        assert_eq!(
            got,
            [
                ("init", "alpine", Some("i1")),
                ("main", "docker.io/library/nginx", Some("m2")),
                ("main", "docker.io/library/nginx", Some("m1")),
                ("debugger", "docker.io/library/tools", None),
                ("late", "busybox", None),
            ]
        );
        assert!(pod.host_network);
    }

    #[test]
    fn a_static_pod_has_the_uid_of_its_cgroup() {
        let annotations = json!({
            "kubernetes.io/config.hash": "0b1c2d3e4f5061728394a5b6c7d8e9f0",
            "kubernetes.io/config.mirror": "0b1c2d3e4f5061728394a5b6c7d8e9f0",
        });
        let uid = "7d1a4ff0-6d1a-4c2b-9f6e-000000000001";
        let node = json!([{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1", "controller": true}]);
        let all = |metadata: serde_json::Value| -> Vec<(String, bool)> {
            let object = serde_json::from_value::<core::Pod>(json!({"metadata": metadata})).unwrap();
            Pod::all_of(&object).into_iter().map(|pod| (pod.uid, pod.mirror)).collect()
        };
        let own = (uid.to_owned(), false);
        assert_eq!(
            all(json!({"name": "etcd", "uid": uid, "annotations": annotations, "ownerReferences": node})),
            [own.clone(), ("0b1c2d3e4f5061728394a5b6c7d8e9f0".to_owned(), true)]
        );
        // Anyone may write annotations on a pod of theirs: it must not take another's name.
        let hash = json!({"kubernetes.io/config.hash": "0b1c2d3e4f5061728394a5b6c7d8e9f0"});
        let owner = json!([{"apiVersion": "x/v1", "kind": "Node", "name": "n", "uid": "1"}]);
        for metadata in [
            json!({"name": "x", "uid": uid, "annotations": hash, "ownerReferences": node}),
            json!({"name": "x", "uid": uid, "annotations": annotations}),
            json!({"name": "x", "uid": uid, "annotations": annotations, "ownerReferences": owner}),
        ] {
            assert_eq!(all(metadata), std::slice::from_ref(&own));
        }
    }
}
