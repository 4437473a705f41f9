//! Which object owns the uid of a cgroup.
//!
//! An object owns the uid that the API server gave it. The mirror object of a static pod also owns the uid of that pod's
//! cgroups. This uid is in an annotation, which the author of any pod can write. Therefore an object never takes over a uid
//! that another object owns, and the deletion of an object releases only the uids that it owns.

use std::collections::{HashMap, HashSet};

use crate::pods::Pod;

/// The uid of the owning object, by the owned uid.
#[derive(Debug, Default)]
pub(super) struct Claims(HashMap<String, String>);

impl Claims {
    /// Adds an object. Returns those of its [pods](Pod::all_of) whose uid it owns.
    pub(super) fn accept(&mut self, pods: Vec<Pod>) -> Vec<Pod> {
        let object = pods.first().map(|pod| pod.uid.clone()).unwrap_or_default();
        let accepted = pods.into_iter().filter(|pod| {
            let holder = self.0.entry(pod.uid.clone()).or_insert_with(|| object.clone());
            // Its own uid is an object's in any case.
            if !pod.mirror {
                holder.clone_from(&object);
            }
            *holder == object
        });
        accepted.collect()
    }

    /// Removes a deleted object. Returns the uids that it owned.
    pub(super) fn release(&mut self, object: &str) -> Vec<String> {
        let released = self.0.extract_if(|_, holder| holder == object);
        released.map(|(uid, _)| uid).collect()
    }

    /// Removes all objects except these.
    pub(super) fn only(&mut self, objects: &HashSet<String>) {
        self.0.retain(|_, holder| objects.contains(holder));
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1 as core;
    use serde_json::json;

    use super::*;

    /// A pod that says that it mirrors the static pod with this uid.
    fn mirror(name: &str, uid: &str, of: &str) -> Vec<Pod> {
        let object = json!({"metadata": {
            "name": name, "namespace": "test", "uid": uid,
            "annotations": {"kubernetes.io/config.hash": of, "kubernetes.io/config.mirror": of},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "n", "controller": true}],
        }});
        Pod::all_of(&serde_json::from_value::<core::Pod>(object).unwrap())
    }

    fn usual(name: &str, uid: &str) -> Vec<Pod> {
        let object = json!({"metadata": {"name": name, "namespace": "test", "uid": uid}});
        Pod::all_of(&serde_json::from_value::<core::Pod>(object).unwrap())
    }

    fn uids(pods: &[Pod]) -> Vec<&str> {
        pods.iter().map(|pod| pod.uid.as_str()).collect()
    }

    #[test]
    fn an_annotation_takes_no_other_pod_away() {
        let mut claims = Claims::default();
        assert_eq!(uids(&claims.accept(usual("victim", "v"))), ["v"]);
        // It still has its own events.
        assert_eq!(uids(&claims.accept(mirror("attacker", "a", "v"))), ["a"]);
        assert_eq!(claims.release("a"), ["a"]);
        // The other way around: the victim comes later.
        assert_eq!(uids(&claims.accept(mirror("attacker", "a", "w"))), ["a", "w"]);
        assert_eq!(uids(&claims.accept(usual("victim", "w"))), ["w"]);
        assert_eq!(claims.release("a"), ["a"]);
        assert_eq!(claims.release("w"), ["w"]);
    }

    #[test]
    fn a_static_pod_has_its_mirror() {
        let mut claims = Claims::default();
        assert_eq!(uids(&claims.accept(mirror("etcd", "1", "s"))), ["1", "s"]);
        assert_eq!(uids(&claims.accept(mirror("attacker", "a", "s"))), ["a"]);
        // kubelet makes the object again.
        let mut gone = claims.release("1");
        gone.sort();
        assert_eq!(gone, ["1", "s"]);
        assert_eq!(uids(&claims.accept(mirror("etcd", "2", "s"))), ["2", "s"]);
        // One that went while nobody watched.
        claims.only(&HashSet::from(["a".to_owned()]));
        assert_eq!(uids(&claims.accept(mirror("etcd", "3", "s"))), ["3", "s"]);
    }
}
