//! The programs of a cluster.

use anyhow::Result;

use crate::{
    cache::Cache,
    kube::{self, Program, Programs},
};

/// What the node runs, besides what the control plane needs.
pub(super) const NODE_PROGRAMS: &[Program] =
    &[Program::Kubelet, Program::KubeProxy, Program::Containerd, Program::ContainerdShim, Program::Ctr];

/// All programs that a cluster needs, and helm.
pub(crate) fn ready(cache: &Cache) -> Result<Programs> {
    Programs::ready(cache, &[kube::CONTROL_PLANE, NODE_PROGRAMS, &[Program::Helm]].concat())
}
