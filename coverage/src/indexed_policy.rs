//! The properties of a policy that coverage needs.

use std::{
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use gatewatch_policy::{
    compile::RUN,
    diagnostic::FieldPath,
    model::{Hook, HookTarget, Kind, Policy},
    scope::Scope,
};

/// A policy's name, and its namespace for a namespaced one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId {
    /// `None` for a cluster-wide policy.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl PolicyId {
    /// The id of a policy. A namespaced policy without a namespace gets `default_namespace`, as with `kubectl`.
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

/// The parts of a policy that the index needs: its scope and its hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedPolicy {
    /// Name and namespace.
    pub id: PolicyId,
    /// The pods and host processes that it selects.
    pub scope: Scope,
    /// Its hooks.
    pub(crate) hooks: Vec<IndexedHook>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexedHook {
    pub(crate) path: FieldPath,
    /// The function or event that it attaches to, as messages name it.
    pub(crate) target: String,
    /// Equal for hooks that count the same events.
    pub(crate) fingerprint: u64,
}

impl IndexedPolicy {
    /// Extracts the parts of a policy. A namespaced policy without a namespace gets `default_namespace`, as with `kubectl`.
    pub fn new(policy: &Policy, default_namespace: &str) -> Self {
        let id = PolicyId::of(policy, default_namespace);
        let mut scope = Scope::of(policy);
        if let Some(pods) = &mut scope.pods {
            pods.namespace.clone_from(&id.namespace);
        }
        Self { id, scope, hooks: hooks(policy) }
    }

    /// The number of hooks of a policy.
    pub fn hook_count(policy: &Policy) -> usize {
        RUN.iter().map(|section| section.hooks(&policy.spec).len()).sum()
    }
}

fn hooks(policy: &Policy) -> Vec<IndexedHook> {
    let mut indexed = Vec::new();
    for section in RUN {
        let at = FieldPath::root().field("spec").field(section.name());
        for (i, hook) in section.hooks(&policy.spec).iter().enumerate() {
            indexed.push(IndexedHook {
                path: at.index(i),
                target: target(&hook.target),
                fingerprint: fingerprint(hook),
            });
        }
    }
    indexed
}

fn target(target: &HookTarget) -> String {
    match target {
        HookTarget::Function { call, .. } => call.clone(),
        HookTarget::Tracepoint { subsystem, event, .. } => format!("{subsystem}/{event}"),
        HookTarget::Lsm { hook } => hook.clone(),
        HookTarget::Uprobe { path, .. } => path.clone(),
        HookTarget::Usdt { path, name, .. } => format!("{path}:{name}"),
    }
}

/// Equal for hooks that count the same events. Messages and tags do not change what is counted.
fn fingerprint(hook: &Hook) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&hook.target, hook.on_return, &hook.args, &hook.selectors).hash(&mut hasher);
    hasher.finish()
}
