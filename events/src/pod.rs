//! The pod of a process.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{json::unset, time::Timestamp};

/// A pod, as Tetragon's `Pod`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Its namespace.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: String,
    /// Its name.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// Its uid.
    #[serde(skip_serializing_if = "unset")]
    pub uid: String,
    /// The container of the process. `None`: the process is in the pod's cgroup, but in no container (a runtime).
    #[serde(skip_serializing_if = "unset")]
    pub container: Option<Box<Container>>,
    /// Its labels: those that the agent's options allow.
    #[serde(skip_serializing_if = "unset")]
    pub pod_labels: BTreeMap<String, String>,
    /// The name of the workload that the pod belongs to; its own name where it belongs to none.
    #[serde(skip_serializing_if = "unset")]
    pub workload: String,
    /// The workload's kind, such as `Deployment`; `Pod` where it belongs to none.
    #[serde(skip_serializing_if = "unset")]
    pub workload_kind: String,
    /// Its annotations: those that the agent's options allow.
    #[serde(skip_serializing_if = "unset")]
    pub pod_annotations: BTreeMap<String, String>,
}

/// A container, as Tetragon's `Container`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// The id with the runtime's prefix, such as `containerd://` and 64 hexadecimal digits.
    #[serde(skip_serializing_if = "unset")]
    pub id: String,
    /// The name in the pod.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// The image.
    #[serde(skip_serializing_if = "unset")]
    pub image: Option<Image>,
    /// When it started.
    #[serde(skip_serializing_if = "unset")]
    pub start_time: Option<Timestamp>,
    /// The id of the process in the container's pid namespace.
    #[serde(skip_serializing_if = "unset")]
    pub pid: Option<u32>,
    /// The process looks like a probe of type exec of this container.
    #[serde(skip_serializing_if = "unset")]
    pub maybe_exec_probe: bool,
    /// Parts of its security context.
    #[serde(skip_serializing_if = "unset")]
    pub security_context: Option<SecurityContext>,
}

/// The image of a container, as Tetragon's `Image`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// `imageID` of the pod's status: the repository and the digest.
    #[serde(skip_serializing_if = "unset")]
    pub id: String,
    /// `image` of the pod's spec.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// Gatewatch's own: the digest of `id`, such as `sha256:` and 64 hexadecimal digits. [`Image::new`] sets it.
    #[serde(skip_serializing_if = "unset")]
    pub digest: String,
}

impl Image {
    /// An image by `imageID` of the pod's status and `image` of its spec.
    pub fn new(id: &str, name: &str) -> Self {
        let digest = id.rsplit_once('@').map_or("", |(_, digest)| digest);
        Self { id: id.to_owned(), name: name.to_owned(), digest: digest.to_owned() }
    }
}

/// Parts of a container's security context, as Tetragon's `SecurityContext`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecurityContext {
    /// The container is privileged.
    #[serde(skip_serializing_if = "unset")]
    pub privileged: bool,
}
