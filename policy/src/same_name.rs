//! Policies of one kind, namespace and name in several documents: `kubectl apply` keeps the last one.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use crate::{
    codes::REPLACED,
    diagnostic::{Diagnostic, FieldPath},
    model::Kind,
    read::{Identity, identify},
    source::Node,
};

/// The identity of a policy in a cluster: kind, namespace (empty for cluster-wide policies) and name.
type Name = (Kind, String, String);

/// The names of the policies so far. A place is where the caller finds a policy again.
#[derive(Clone, Debug)]
pub struct Names<Place>(BTreeMap<Name, Seen<Place>>);

#[derive(Clone, Debug)]
struct Seen<Place> {
    /// A hash of the `spec`: thousands of policies are not kept in memory.
    spec: u64,
    place: Place,
}

impl<Place> Default for Names<Place> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<Place> Names<Place> {
    /// Adds an object. Returns the place of the policy that it replaces, if that has another `spec`. Objects that are not
    /// policies, and policies without a name, replace nothing. A namespaced policy without a namespace is in
    /// `default_namespace`.
    pub fn add(&mut self, object: &Node, default_namespace: &str, place: Place) -> Option<Place> {
        let name = name(object, default_namespace)?;
        let mut hasher = DefaultHasher::new();
        object.get("spec").map(Node::to_json).unwrap_or_default().to_string().hash(&mut hasher);
        let spec = hasher.finish();
        let replaced = self.0.insert(name, Seen { spec, place })?;
        (replaced.spec != spec).then_some(replaced.place)
    }
}

fn name(object: &Node, default_namespace: &str) -> Option<Name> {
    let Identity::Policy(kind) = identify(object) else { return None };
    let metadata = |key| object.get("metadata")?.get(key)?.as_str().filter(|text| !text.is_empty());
    let namespace = match kind {
        Kind::Cluster => "",
        Kind::Namespaced => metadata("namespace").unwrap_or(default_namespace),
    };
    Some((kind, namespace.to_owned(), metadata("name")?.to_owned()))
}

/// The finding on a policy that replaces another one, of which `place` is the file and the line.
pub fn replaces(place: &str) -> Diagnostic {
    let path = FieldPath::root().field("metadata").field("name");
    let message = format!(
        "same kind and name as the policy at {place}, but another `spec`: `kubectl apply` of both replaces that policy \
         with this one"
    );
    Diagnostic::new(&REPLACED, path, message)
        .help("rename one of them or delete the outdated one; if they are for different clusters, lint them separately")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::parse;

    fn replaced(texts: &[&str]) -> Vec<Option<usize>> {
        let mut names = Names::default();
        let documents = texts.iter().enumerate().map(|(i, text)| (i, parse(text)));
        documents.map(|(i, documents)| names.add(&documents[0].root, "default", i)).collect()
    }

    #[test]
    fn only_another_spec_of_the_same_object_is_replaced() {
        let cluster = |name: &str, spec: &str| {
            format!(
                "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{{name}}}\nspec: {{{spec}}}\n"
            )
        };
        let namespaced =
            |name: &str, spec: &str| cluster(name, spec).replace("TracingPolicy", "TracingPolicyNamespaced");
        let of = |texts: &[String]| replaced(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let (one, other) = ("kprobes: [{call: a}], b: 1", "kprobes: [{call: b}]");
        assert_eq!(of(&[cluster("name: a", one), cluster("name: a", other)]), [None, Some(0)]);
        // The namespace of a cluster-wide policy has no meaning, and neither have the order of fields and other metadata.
        let same = cluster("name: a, namespace: x, labels: {l: v}", "b: 1, kprobes: [{call: a}]");
        assert_eq!(of(&[cluster("name: a", one), same.clone()]), [None, None]);
        assert_eq!(of(&[same, cluster("name: a", other)]), [None, Some(0)]);
        assert_eq!(
            of(&[namespaced("name: a", one), namespaced("name: a, namespace: default", other)]),
            [None, Some(0)]
        );
        for different in [
            cluster("name: b", other),
            cluster("generateName: a", other),
            namespaced("name: a", other),
            cluster("name: a", other).replace("TracingPolicy", "Pod").replace("cilium.io/v1alpha1", "v1"),
        ] {
            assert_eq!(of(&[cluster("name: a", one), different]), [None, None]);
        }
        // Each replaces the one before it.
        let three = [cluster("name: a", one), cluster("name: a", other), cluster("name: a", one)];
        assert_eq!(of(&three), [None, Some(0), Some(1)]);
    }
}
