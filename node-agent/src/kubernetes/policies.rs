//! Policies of the API server.
//!
//! They are taken as the API server has them and not by way of Rust types: the policy engine reads them itself, names
//! what it doesn't know, and an object that it cannot read does not affect others.

use std::collections::BTreeMap;

use gatewatch_policy::{
    dropped::LAST_APPLIED,
    read::{API_VERSION, GROUP, VERSION},
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    runtime::watcher,
};
use serde_json::{Value, json};

use super::{
    queue::{Objects, Queue},
    watch::{Handler, watch},
};
use crate::sources::{Change, Origin};

pub(super) async fn watch_cluster(client: Client, queue: Queue) {
    of_kind(client, queue, "TracingPolicy", "tracingpolicies", Objects::Policies).await;
}

pub(super) async fn watch_namespaced(client: Client, queue: Queue) {
    let objects = Objects::NamespacedPolicies;
    of_kind(client, queue, "TracingPolicyNamespaced", "tracingpoliciesnamespaced", objects).await;
}

async fn of_kind(client: Client, queue: Queue, kind: &'static str, plural: &str, objects: Objects) {
    let resource = ApiResource {
        group: GROUP.into(),
        version: VERSION.into(),
        api_version: API_VERSION.into(),
        kind: kind.into(),
        plural: plural.into(),
    };
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let handler = Policies { kind, known: BTreeMap::new(), queue: queue.clone() };
    watch(api, watcher::Config::default(), objects, queue, handler).await;
}

struct Policies {
    kind: &'static str,
    /// What was given of each, so that nothing is given twice: a label or a status that changes changes no policy.
    known: BTreeMap<Origin, String>,
    queue: Queue,
}

impl Policies {
    fn origin(&self, object: &DynamicObject) -> Origin {
        Origin::Object {
            kind: self.kind,
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone().unwrap_or_default(),
        }
    }

    fn take(&mut self, object: &DynamicObject) {
        let (origin, text) = (self.origin(object), self.text(object));
        if self.known.get(&origin) != Some(&text) {
            self.known.insert(origin.clone(), text.clone());
            let generation = object.metadata.generation;
            self.queue.push(Change::Policies { origin, text, generation });
        }
    }

    fn forget(&mut self, origin: Origin) {
        if self.known.remove(&origin).is_some() {
            self.queue.push(Change::PoliciesGone(origin));
        }
    }

    /// The object as a user would write it.
    fn text(&self, object: &DynamicObject) -> String {
        let meta = &object.metadata;
        let mut metadata = json!({"name": meta.name.as_deref().unwrap_or_default()});
        if let Some(namespace) = &meta.namespace {
            metadata["namespace"] = json!(namespace);
        }
        if let Some(annotations) = &meta.annotations {
            let others: BTreeMap<_, _> = annotations.iter().filter(|(key, _)| *key != LAST_APPLIED).collect();
            if !others.is_empty() {
                metadata["annotations"] = json!(others);
            }
        }
        let mut whole = json!({"apiVersion": API_VERSION, "kind": self.kind, "metadata": metadata});
        if let Value::Object(fields) = &object.data {
            for (name, value) in fields.iter().filter(|(name, _)| *name != "status") {
                whole[name] = value.clone();
            }
        }
        whole.to_string()
    }
}

impl Handler<DynamicObject> for Policies {
    async fn all(&mut self, objects: Vec<DynamicObject>) {
        let there: Vec<Origin> = objects.iter().map(|object| self.origin(object)).collect();
        let gone: Vec<Origin> = self.known.keys().filter(|origin| !there.contains(origin)).cloned().collect();
        for origin in gone {
            self.forget(origin);
        }
        for object in &objects {
            self.take(object);
        }
    }

    async fn apply(&mut self, object: DynamicObject) {
        self.take(&object);
    }

    async fn delete(&mut self, object: DynamicObject) {
        self.forget(self.origin(&object));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Source as _;

    fn object(name: &str, call: &str, label: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy",
            "metadata": {
                "name": name, "generation": 3, "resourceVersion": label, "labels": {"x": label},
                "annotations": {LAST_APPLIED: "{}"},
            },
            "spec": {"kprobes": [{"call": call}]},
        }))
        .unwrap()
    }

    fn given(queue: &mut Queue) -> Vec<String> {
        let changes = queue.poll().unwrap();
        let name = |change: Change| match change {
            Change::Policies { origin, text, generation } => format!("{origin} {generation:?} {text}"),
            Change::PoliciesGone(origin) => format!("{origin} gone"),
            other => panic!("{other:?}"),
        };
        changes.into_iter().map(name).collect()
    }

    #[tokio::test]
    async fn only_what_is_new_is_given() {
        let mut queue = Queue::default();
        let mut policies = Policies { kind: "TracingPolicy", known: BTreeMap::new(), queue: queue.clone() };
        policies.all(vec![object("a", "f", "1"), object("b", "f", "1")]).await;
        assert_eq!(
            given(&mut queue)[0],
            "TracingPolicy a Some(3) {\"apiVersion\":\"cilium.io/v1alpha1\",\"kind\":\"TracingPolicy\",\"metadata\":{\"name\":\"a\"},\
             \"spec\":{\"kprobes\":[{\"call\":\"f\"}]}}"
        );
        policies.apply(object("a", "f", "2")).await;
        assert_eq!(given(&mut queue), [""; 0], "a label changes no policy");
        policies.apply(object("a", "g", "3")).await;
        assert_eq!(given(&mut queue).len(), 1);
        // The watch begins anew; meanwhile `a` was deleted.
        policies.all(vec![object("b", "f", "9")]).await;
        assert_eq!(given(&mut queue), ["TracingPolicy a gone"]);
        policies.delete(object("b", "f", "9")).await;
        assert_eq!(given(&mut queue), ["TracingPolicy b gone"]);
    }
}
