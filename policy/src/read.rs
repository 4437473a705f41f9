//! Document tree to model: reads a [`Policy`] and reports every error of form.
//!
//! Reading never fails. A field that cannot be read is reported. It is then left out or, if its meaning is clear (a
//! number without its quotes, a name with a typo), read with that meaning, so that one error hides no other. Lists
//! keep their length whatever they contain: an index in the model is the index in the document.

mod actions;
mod cursor;
mod fields;
mod hooks;
mod names;
mod policy;
mod selectors;

use self::cursor::{Cursor, Findings};
use crate::{
    codes::{MISSING_FIELD, NOT_A_POLICY},
    diagnostic::{Diagnostic, Edit, FieldPath, Fix},
    model::{Kind, Policy},
    nearest::nearest,
    placeholder,
    source::{Document, Node, Value},
};

/// The `apiVersion` of policies.
pub const API_VERSION: &str = "cilium.io/v1alpha1";
/// The API group of policies.
pub const GROUP: &str = "cilium.io";
/// The version of [`API_VERSION`].
pub const VERSION: &str = "v1alpha1";

/// The other kinds of the group: Tetragon's own, and those of Cilium's network policies, from the definitions that
/// Cilium 1.18 installs.
const OTHER_KINDS: [&str; 25] = [
    "PodInfo",
    "CiliumBGPAdvertisement",
    "CiliumBGPClusterConfig",
    "CiliumBGPNodeConfig",
    "CiliumBGPNodeConfigOverride",
    "CiliumBGPPeerConfig",
    "CiliumBGPPeeringPolicy",
    "CiliumCIDRGroup",
    "CiliumClusterwideEnvoyConfig",
    "CiliumClusterwideNetworkPolicy",
    "CiliumEgressGatewayPolicy",
    "CiliumEndpoint",
    "CiliumEndpointSlice",
    "CiliumEnvoyConfig",
    "CiliumExternalWorkload",
    "CiliumGatewayClassConfig",
    "CiliumIdentity",
    "CiliumL2AnnouncementPolicy",
    "CiliumLoadBalancerIPPool",
    "CiliumLocalRedirectPolicy",
    "CiliumNetworkPolicy",
    "CiliumNode",
    "CiliumNodeConfig",
    "CiliumPodIPPool",
    "CiliumVTEPConfig",
];

/// What kind of object a document holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A policy, or what is likely to be one: `kind` may have a typo and `apiVersion` be another version.
    Policy(Kind),
    /// Some other object.
    Other {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// No Kubernetes object: no `kind` or no `apiVersion`.
    Unknown,
}

/// Says what kind of object a value is.
pub fn identify(root: &Node) -> Identity {
    let text = |key| root.get(key).and_then(Node::as_str).filter(|text| !text.is_empty());
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let ours = api_version.is_some_and(|v| v.split('/').next() == Some(GROUP));
    if let Some(kind) = kind.and_then(Kind::from_name) {
        return Identity::Policy(kind);
    }
    let known = |kind: &str| {
        let single = kind.strip_suffix("List").unwrap_or(kind);
        OTHER_KINDS.contains(&single) || Kind::from_name(single).is_some()
    };
    if let Some(kind) = kind.filter(|kind| ours && !known(kind)) {
        let all = Kind::NAMES.iter().copied().chain(OTHER_KINDS);
        return match nearest(kind, all) {
            Some(suggestion) => Kind::from_name(suggestion).map_or(Identity::Unknown, Identity::Policy),
            None => Identity::Unknown,
        };
    }
    match (api_version, kind) {
        // Its objects would not be found.
        (Some(_), Some(_)) if wrong_items(root).is_some() => Identity::Unknown,
        (Some(api_version), Some(kind)) => {
            Identity::Other { api_version: api_version.to_owned(), kind: kind.to_owned() }
        }
        // Without its kind it may still be recognised by what is in it.
        (Some(_), None) if ours => Identity::Policy(Kind::Cluster),
        _ => Identity::Unknown,
    }
}

/// Reads the policy that a document holds, and reports the errors of its form. There is no policy in a document that
/// couldn't be read as a whole or that holds something else. Nothing is reported about another kind of object (see
/// [`identify`]), but it is reported if there is no object at all.
pub fn read(document: &Document) -> (Option<Policy>, Vec<Diagnostic>) {
    if !document.complete {
        return (None, Vec::new());
    }
    read_node(&document.root, &FieldPath::root())
}

/// Reads the policy in a part of a document, such as an item of a `List`.
pub fn read_node(root: &Node, base: &FieldPath) -> (Option<Policy>, Vec<Diagnostic>) {
    match identify(root) {
        Identity::Other { .. } => (None, Vec::new()),
        Identity::Unknown => (None, vec![nothing_known(root, base)]),
        Identity::Policy(kind) => {
            let mut found = identity_mistakes(root, kind, base);
            let findings = Findings::new(base.clone());
            let policy = policy::policy(&Cursor::root(root, &findings), kind);
            found.extend(findings.into_vec());
            (Some(policy), found)
        }
    }
}

/// The `items` of a list of objects, if they are something else than a list.
fn wrong_items(root: &Node) -> Option<&Node> {
    let is_list = root.get("kind").and_then(Node::as_str).is_some_and(|kind| kind.ends_with("List"));
    let items = root.get("items").filter(|_| is_list)?;
    (!matches!(items.value, Value::Seq(_) | Value::Null)).then_some(items)
}

fn nothing_known(root: &Node, base: &FieldPath) -> Diagnostic {
    let text = |key| root.get(key).and_then(Node::as_str).filter(|text| !text.is_empty());
    if let Some(items) = wrong_items(root) {
        let message = format!(
            "`items` holds the objects of a list: expected a list, found {}; `kubectl` rejects it",
            items.kind()
        );
        return Diagnostic::new(&NOT_A_POLICY, base.field("items"), message)
            .help("write a dash before each object");
    }
    if let (Some(_), Some(kind)) = (text("apiVersion"), text("kind")) {
        return unknown_kind(kind, base);
    }
    let missing: Vec<&str> = ["apiVersion", "kind"]
        .into_iter()
        .filter(|key| root.get(key).is_none_or(|v| v.as_str().is_none_or(str::is_empty)))
        .collect();
    let message = match root.value {
        Value::Map(_) => {
            format!("not a Kubernetes object: missing `{}`", missing.join("` and `"))
        }
        _ => format!("expected a Kubernetes object, found {}", root.kind()),
    };
    Diagnostic::new(&NOT_A_POLICY, base.clone(), message)
        .help(format!("a policy starts with `apiVersion: {API_VERSION}` and `kind: TracingPolicy`"))
}

/// A kind that the group of policies doesn't have.
fn unknown_kind(kind: &str, base: &FieldPath) -> Diagnostic {
    let diagnostic = Diagnostic::new(
        &NOT_A_POLICY,
        base.field("kind"),
        format!("unknown kind `{kind}` in the group `cilium.io`; the API server rejects the object"),
    );
    if let Some(found) = placeholder::find(kind) {
        return diagnostic.help(placeholder::help(found));
    }
    match nearest(kind, OTHER_KINDS) {
        Some(suggestion) => diagnostic.did_you_mean(suggestion, Edit::Replace(suggestion.to_owned())),
        None => diagnostic.help("policies are of the kind `TracingPolicy` or `TracingPolicyNamespaced`"),
    }
}

/// Typos in `apiVersion` and `kind` of an object that is a policy otherwise.
fn identity_mistakes(root: &Node, kind: Kind, base: &FieldPath) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (field, expected) in [("apiVersion", API_VERSION), ("kind", kind.name())] {
        let path = base.field(field);
        match root.get(field).and_then(Node::as_str) {
            Some(text) if text == expected => {}
            Some(text) => found.push(
                Diagnostic::new(
                    &NOT_A_POLICY,
                    path.clone(),
                    if field == "kind" {
                        format!("unknown kind `{text}` in the group `cilium.io`; the API server rejects the object")
                    } else {
                        format!("{text:?} is not a valid `{field}` of a policy")
                    },
                )
                .help(format!("did you mean `{expected}`?"))
                .fix(Fix {
                    title: format!("write `{expected}`"),
                    path,
                    edit: Edit::Replace(expected.to_owned()),
                    safe: true,
                }),
            ),
            None => found.push(
                Diagnostic::new(&MISSING_FIELD, path, format!("missing `{field}`: not a Kubernetes object"))
                    .help(format!("add `{field}: {expected}`")),
            ),
        }
    }
    found
}

#[cfg(test)]
mod tests;
