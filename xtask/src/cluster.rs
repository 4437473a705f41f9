//! `cargo xtask cluster`: a real Kubernetes cluster without a container engine and without a registry. The control plane
//! runs on this machine's loopback; the node is a VM with kubelet, containerd, crun and CNI plugins, whose images are
//! made here and imported.
//!
//! Its files are in `cluster/` in cargo's target folder, and stay between calls until `down`.

pub(crate) mod app;
mod command;
mod disk;
mod initramfs;
mod names;
mod node;
mod pki;
mod programs;
pub(crate) mod relay;
mod running;
pub(crate) mod samples;
mod story;
mod userland;

pub(crate) use crate::kube::Programs;
pub(crate) use command::{Arguments, command, images, up};
pub(crate) use programs::ready as programs;
pub(crate) use running::Cluster;
pub(crate) use story::{Address, Story};
