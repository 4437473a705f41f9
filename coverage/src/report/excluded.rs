//! Values that a policy excludes and no pod has, which are probably a typo.

use gatewatch_policy::{
    codes::EXCLUDES_NOTHING,
    diagnostic::{Diagnostic, Edit, FieldPath, Fix},
    model::LabelOperator,
};

use super::policy::{pod_selector, quoted};
use crate::{
    index::Index,
    indexed_policy::IndexedPolicy,
    label_index::IdSet,
    limits::{Hint, Limits, comparisons},
    terms::is_synthetic,
};

impl Index {
    /// For each value of a `NotIn` that no pod has: the value of pods of which it is a likely typo.
    pub(super) fn excluded(&self, policy: &IndexedPolicy, limits: &Limits) -> Vec<Diagnostic> {
        let Some(selector) = policy.scope.pods.as_ref().and_then(|scope| scope.pods.as_ref()) else {
            return Vec::new();
        };
        let own = policy.id.namespace.as_deref();
        let visible = |ids: &IdSet| {
            limits.may_name_others(own)
                || ids.iter().filter_map(|id| self.workloads.group(*id)).any(|g| Some(&*g.namespace) == own)
        };
        let mut found = Vec::new();
        for (i, expression) in selector.match_expressions.iter().enumerate() {
            let key = expression.key.as_str();
            if expression.operator != LabelOperator::NotIn || is_synthetic(key) {
                continue;
            }
            let Some(known) = self.workloads.labels.key(key) else { continue };
            for (k, value) in expression.values.iter().enumerate() {
                if !limits.allows(Hint::ExcludedValues, comparisons(value, known.len())) {
                    return found;
                }
                if known.values.get(value).is_some_and(visible) {
                    continue;
                }
                let near = known.values.near(value).into_iter();
                let near = near.filter(|(.., ids)| visible(ids)).map(|(_, meant, _)| meant);
                let Some(meant) =
                    near.into_iter().find(|meant| !expression.values.iter().any(|v| v == meant))
                else {
                    continue;
                };
                let path = pod_selector().field("matchExpressions").index(i).field("values").index(k);
                found.push(excludes_nothing(key, value, meant, path));
            }
        }
        found
    }
}

fn excludes_nothing(key: &str, value: &str, meant: &str, path: FieldPath) -> Diagnostic {
    let message = format!(
        "no pod has `{key}={value}`, so this value excludes no pod; the policy applies to pods with `{key}={meant}`"
    );
    Diagnostic::new(&EXCLUDES_NOTHING, path.clone(), message)
        .help(format!("did you mean `{meant}`?"))
        .fix(Fix { title: format!("write `{meant}`"), path, edit: Edit::Replace(quoted(meant)), safe: false })
}
