//! Phrases used in several messages.

use gatewatch_policy::model::{LabelOperator, LabelSelector};

use crate::{
    indexed_policy::PolicyId,
    selection::{Selection, Tally},
};

/// Namespaces and policies that are listed by name. The rest is a number.
const NAMED: usize = 3;

pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

impl Tally {
    /// `4 pods and 1 workload`.
    pub(crate) fn phrase(self) -> String {
        let pods = counted(self.pods, "pod", "pods");
        let workloads = counted(self.workloads, "workload", "workloads");
        match (self.pods, self.workloads) {
            (_, 0) => pods,
            (0, _) => workloads,
            _ => format!("{pods} and {workloads}"),
        }
    }
}

impl Selection {
    /// ``4 pods in `test` ``, ``9 pods in `a` (5), `b` (4)``: the largest first.
    pub(crate) fn phrase(&self) -> String {
        let total = self.total().phrase();
        let mut namespaces: Vec<(&str, usize)> =
            self.by_namespace.iter().map(|(name, t)| (name.as_str(), t.pods + t.workloads)).collect();
        namespaces.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
        match namespaces.as_slice() {
            [] => total,
            [(only, _)] => format!("{total} in `{only}`"),
            all => {
                let named: Vec<String> =
                    all.iter().take(NAMED).map(|(name, count)| format!("`{name}` ({count})")).collect();
                format!("{total} in {}", with_rest(&named, all.len(), "namespace", "namespaces"))
            }
        }
    }
}

/// The names of the first few policies, and the number of others.
pub(crate) fn policies<'a>(ids: impl IntoIterator<Item = &'a PolicyId>) -> String {
    let all: Vec<String> = ids.into_iter().map(|id| format!("`{id}`")).collect();
    let named = &all[..all.len().min(NAMED)];
    with_rest(named, all.len(), "policy", "policies")
}

fn with_rest(named: &[String], total: usize, one: &str, many: &str) -> String {
    let listed = named.join(", ");
    match total - named.len() {
        0 => listed,
        rest => format!("{listed} and {} more", counted(rest, one, many)),
    }
}

/// A selector in the syntax of `kubectl get -l`: `org=empire,class in (a,b)`.
pub(crate) fn selector(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().map(|e| {
        let (key, values) = (&e.key, e.values.join(","));
        match (e.operator, e.values.as_slice()) {
            (LabelOperator::In, [value]) => format!("{key}={value}"),
            (LabelOperator::In, _) => format!("{key} in ({values})"),
            (LabelOperator::NotIn, [value]) => format!("{key}!={value}"),
            (LabelOperator::NotIn, _) => format!("{key} notin ({values})"),
            (LabelOperator::Exists, _) => key.clone(),
            (LabelOperator::DoesNotExist, _) => format!("!{key}"),
        }
    });
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}
