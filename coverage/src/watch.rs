//! The properties of a policy that coverage needs.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use gatewatch_policy::diagnostic::FieldPath;
use gatewatch_policy::labels::NAMESPACE_KEY;
use gatewatch_policy::model::{Hook, Kind, LabelOperator, LabelSelector, Policy, Section, Target};
use gatewatch_policy::scope::Scope;

/// A policy's name, and its namespace for a namespaced one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId {
    /// `None` for a policy of the cluster.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl PolicyId {
    /// Of a policy. A namespaced one that names no namespace gets `default_namespace`, as `kubectl` would give it.
    pub fn of(policy: &Policy, default_namespace: &str) -> Self {
        let namespace = (policy.kind == Kind::Namespaced)
            .then(|| policy.namespace.clone().unwrap_or_else(|| default_namespace.to_owned()));
        Self { namespace, name: policy.name.clone() }
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// Whom a policy watches and what, without the rest of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Which policy.
    pub id: PolicyId,
    /// Whom it watches.
    pub scope: Scope,
    /// Its hooks: where each stands, what it attaches to, and a fingerprint of all that decides what is counted.
    pub(crate) hooks: Vec<WatchedHook>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WatchedHook {
    pub(crate) path: FieldPath,
    pub(crate) target: String,
    pub(crate) fingerprint: u64,
}

impl Watch {
    /// Of a policy. A namespaced one that names no namespace gets `default_namespace`, as `kubectl` would give it.
    pub fn new(policy: &Policy, default_namespace: &str) -> Self {
        let id = PolicyId::of(policy, default_namespace);
        let mut scope = Scope::of(policy);
        if let Some(pods) = &mut scope.pods {
            pods.namespace.clone_from(&id.namespace);
        }
        Self { id, scope, hooks: hooks(policy) }
    }
}

fn hooks(policy: &Policy) -> Vec<WatchedHook> {
    let mut found = Vec::new();
    for section in [Section::Kprobes, Section::Fentries, Section::Tracepoints, Section::LsmHooks] {
        let at = FieldPath::root().field("spec").field(section.name());
        for (i, hook) in section.hooks(&policy.spec).iter().enumerate() {
            found.push(WatchedHook {
                path: at.index(i),
                target: target(&hook.target),
                fingerprint: fingerprint(hook),
            });
        }
    }
    found
}

fn target(target: &Target) -> String {
    match target {
        Target::Function { call, .. } => call.clone(),
        Target::Tracepoint { subsystem, event, .. } => format!("{subsystem}/{event}"),
        Target::Lsm { hook } => hook.clone(),
        Target::Uprobe { path, .. } => path.clone(),
        Target::Usdt { path, name, .. } => format!("{path}:{name}"),
    }
}

/// Equal for hooks that count the same events. Messages and tags don't matter to that.
fn fingerprint(hook: &Hook) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&hook.target, hook.on_return, &hook.args, &hook.selectors).hash(&mut hasher);
    hasher.finish()
}

/// An entry of a selector that only a label satisfies that has one of these values.
#[derive(Clone, Debug)]
pub(crate) struct Term<'a> {
    pub(crate) key: &'a str,
    pub(crate) values: Vec<&'a str>,
    /// Its place in `matchExpressions`; `None` for `matchLabels`.
    pub(crate) expression: Option<usize>,
}

impl Term<'_> {
    /// Where one of its values stands in a selector that stands at `selector`.
    pub(crate) fn value_path(&self, selector: &FieldPath, value: usize) -> FieldPath {
        match self.expression {
            None => selector.field("matchLabels").field(self.key),
            Some(i) => selector.field("matchExpressions").index(i).field("values").index(value),
        }
    }

    /// Where it stands.
    pub(crate) fn path(&self, selector: &FieldPath) -> FieldPath {
        match self.expression {
            None => selector.field("matchLabels").field(self.key),
            Some(i) => selector.field("matchExpressions").index(i),
        }
    }
}

/// The entries of a selector that ask for values.
pub(crate) fn terms(selector: &LabelSelector) -> impl Iterator<Item = Term<'_>> {
    let labels = selector.match_labels.iter();
    let labels = labels.map(|(key, value)| Term { key, values: vec![value], expression: None });
    let expressions = selector.match_expressions.iter().enumerate();
    labels.chain(expressions.filter(|(_, e)| e.operator == LabelOperator::In).map(|(i, e)| Term {
        key: &e.key,
        values: e.values.iter().map(String::as_str).collect(),
        expression: Some(i),
    }))
}

/// The keys that have to be there with any value.
pub(crate) fn required_keys(selector: &LabelSelector) -> impl Iterator<Item = &str> {
    let expressions = selector.match_expressions.iter();
    expressions.filter(|e| e.operator == LabelOperator::Exists).map(|e| e.key.as_str())
}

/// Whether a key stands for something else than a label.
pub(crate) fn is_synthetic(key: &str) -> bool {
    key == NAMESPACE_KEY
}
