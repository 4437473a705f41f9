//! The owners of cgroups, as records need them: an immutable value that the reconciler publishes when it changes.

use std::collections::HashMap;

use gatewatch_events::{
    Container, Image, Pod,
    process::{PodStatus, Process, docker},
};

use crate::attribution::{ContainerState, Owner};

/// The owners of all cgroups that exist or existed lately, by their ids.
#[derive(Clone, Debug, Default)]
pub struct Owners(HashMap<u64, Owner>);

impl FromIterator<(u64, Owner)> for Owners {
    fn from_iter<I: IntoIterator<Item = (u64, Owner)>>(owners: I) -> Self {
        Self(owners.into_iter().collect())
    }
}

impl Owners {
    /// Whether the owner of a cgroup is known, as far as it ever will be.
    pub fn settled(&self, cgroup: u64) -> bool {
        let awaited = |container: &ContainerState| *container == ContainerState::Awaited;
        match self.0.get(&cgroup) {
            None | Some(Owner::Pending) => false,
            Some(Owner::Container { container, .. }) => !awaited(container),
            Some(Owner::Host | Owner::Unlisted { .. }) => true,
        }
    }

    /// Sets the pod of a process, or why it has none. `ns_pid` is its id in its own PID namespace; 0: not known.
    pub fn complete(&self, cgroup: u64, ns_pid: u32, process: &mut Process) {
        let (pod, container) = match self.0.get(&cgroup) {
            Some(Owner::Host) => {
                process.pod_status = PodStatus::Host;
                return;
            }
            Some(Owner::Container { pod, container }) => (pod, container),
            None | Some(Owner::Pending | Owner::Unlisted { .. }) => {
                process.pod_status = PodStatus::Unresolved;
                return;
            }
        };
        let named = match container {
            ContainerState::Named(container) => Some(container),
            ContainerState::Awaited | ContainerState::Unnamed => None,
        };
        let id = named.and_then(|container| container.id.as_deref()).unwrap_or_default();
        docker(id).clone_into(&mut process.docker);
        process.pod_status = PodStatus::Unspecified;
        process.pod = Some(Box::new(Pod {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            container: named.map(|container| {
                Box::new(Container {
                    id: id.to_owned(),
                    name: container.name.clone(),
                    image: Some(Image::new("", &container.repo)),
                    pid: Some(ns_pid).filter(|pid| *pid != 0),
                    ..Container::default()
                })
            }),
            pod_labels: pod.labels.clone(),
            workload: pod.workload.name.clone(),
            workload_kind: pod.workload.kind.clone(),
            ..Pod::default()
        }));
    }
}
