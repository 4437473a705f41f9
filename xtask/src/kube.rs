//! Kubernetes itself, for tests and for trying things: its programs, built from their Go modules, and a control plane on
//! loopback.
//!
//! ```text
//! let programs = kube::Programs::ready(&cache, kube::CONTROL_PLANE)?;
//! let mut plane = kube::ControlPlane::start(&programs, kube::Settings::in_folder(folder))?;
//! plane.apply_crds()?;
//! plane.kubectl().text(&["get", "namespaces"])?;
//! plane.stop()?;
//! ```

mod client;
mod config;
mod control_plane;
mod daemon;
mod etcd;
mod pki;
mod ports;
mod programs;

pub(crate) use client::Kubectl;
pub(crate) use config::write as write_kubeconfig;
pub(crate) use control_plane::{ADDRESS_FROM_VM, ControlPlane, Settings, prepare};
pub(crate) use daemon::{Daemon, Life};
pub(crate) use pki::{Authority, Identity, write_secret};
pub(crate) use ports::free as free_ports;
pub(crate) use programs::{CONTROL_PLANE, Program, Programs, operator_definitions};
