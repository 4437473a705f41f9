//! Findings about a pod or a workload that is applied or relabelled.

use gatewatch_policy::codes::{LABEL_NOT_ON_PODS, LEFT_BY_RELABEL, NEAR_MISS, NOT_COVERED, SIBLING_DIFFERS};
use gatewatch_policy::diagnostic::{Diagnostic, Edit, FieldPath, Fix, Severity};

use super::policy::quoted;
use crate::index::{Index, REQUIRE_COVERAGE};
use crate::near::NearMiss;
use crate::shape::{Shape, Workload};
use crate::text::{self, counted};
use crate::watch::terms;

impl Index {
    /// All that is to be said of a pod or workload that is applied, beside what a change of its labels takes out of
    /// sight ([`on_relabel`](Self::on_relabel)): slips in its labels, labels in the wrong place, siblings that
    /// differ, and that nothing watches it where that is required.
    pub fn on_workload(&self, workload: &Workload) -> Vec<Diagnostic> {
        let labels = workload.labels_path();
        let near = self.near_misses(&workload.shape);
        let mut found: Vec<Diagnostic> = near.iter().map(|near| near_miss(near, workload, &labels)).collect();
        for stray in self.strays(workload) {
            let (path, place) = if stray.in_selector {
                (FieldPath::root().field("spec").field("selector"), "in this object's selector")
            } else {
                (FieldPath::root().field("metadata").field("labels").field(&stray.key), "on this object")
            };
            let label = format!("{}={}", stray.key, stray.value);
            found.push(
                Diagnostic::new(
                    &LABEL_NOT_ON_PODS,
                    path,
                    format!(
                        "`{label}` is set only {place}, not on the pods that policies match: {} would select them",
                        text::policies(&stray.gained)
                    ),
                )
                .help(format!("add it under `{labels}` too"))
                .fix(Fix {
                    title: format!("add `{label}` to the template"),
                    path: labels.clone(),
                    edit: Edit::AddField(stray.key, quoted(&stray.value)),
                    safe: false,
                }),
            );
        }
        for sibling in self.siblings(workload) {
            if found.iter().any(|f| f.fix.as_ref().is_some_and(|fix| adds(fix, &sibling.key))) {
                continue;
            }
            let label = format!("{}={}", sibling.key, sibling.value);
            found.push(
                Diagnostic::new(
                    &SIBLING_DIFFERS,
                    labels.clone(),
                    format!(
                        "the pods of {} `{}` have `{label}` and are selected by {}; these pods have no `{}` and are not",
                        sibling.kind,
                        sibling.name,
                        text::policies(&sibling.gained),
                        sibling.key
                    ),
                )
                .help(format!("if a policy should select both, add `{label}`")),
            );
        }
        found.extend(self.not_covered(workload, &near));
        found
    }

    /// What is said when the labels of a pod or template change: policies that lose it. An error where its namespace
    /// requires coverage and no policy is left.
    pub fn on_relabel(&self, was: &Shape, becomes: &Workload) -> Vec<Diagnostic> {
        let left = self.left_by_relabel(was, &becomes.shape);
        if left.is_empty() {
            return Vec::new();
        }
        let count = counted(left.len(), "policy", "policies");
        let verb = if left.len() == 1 { "selects" } else { "select" };
        let message = format!("{count} no longer {verb} {}: {}", becomes.pods(), text::policies(left));
        let mut diagnostic = Diagnostic::new(&LEFT_BY_RELABEL, becomes.labels_path(), message);
        if self.must_be_covered(becomes) {
            diagnostic = diagnostic.severity(Severity::Error).help(format!(
                "namespace `{}` requires that a policy selects every pod, and no policy would be left",
                becomes.shape.namespace
            ));
        }
        vec![diagnostic]
    }

    /// Whether a pod or workload is required to be watched and no policy does.
    pub fn must_be_covered(&self, workload: &Workload) -> bool {
        self.requires_coverage(&workload.shape.namespace) && self.selecting(&workload.shape).is_empty()
    }

    fn not_covered(&self, workload: &Workload, near: &[NearMiss]) -> Option<Diagnostic> {
        if !self.must_be_covered(workload) {
            return None;
        }
        let namespace = &workload.shape.namespace;
        let message = format!(
            "no policy selects {}, but namespace `{namespace}` requires it ({REQUIRE_COVERAGE})",
            workload.pods()
        );
        let diagnostic = Diagnostic::new(&NOT_COVERED, workload.labels_path(), message);
        if let Some(near) = near.first() {
            return Some(diagnostic.help(format!("did you mean `{}={}`?", near.meant_key, near.meant_value)));
        }
        let wanted = self.wanted_labels(namespace);
        Some(if wanted.is_empty() {
            diagnostic.help("apply a policy that selects it first")
        } else {
            diagnostic.help(format!("existing policies select {}", wanted.join(", ")))
        })
    }

    /// What the first few policies for a namespace select by.
    fn wanted_labels(&self, namespace: &str) -> Vec<String> {
        let mut wanted: Vec<(String, String)> = self
            .policies()
            .filter_map(|watch| {
                let scope = watch.scope.pods.as_ref()?;
                let selector = scope.pods.as_ref().filter(|selector| terms(selector).next().is_some())?;
                let here = scope.namespace.as_ref().is_none_or(|wanted| wanted == namespace);
                here.then(|| (text::selector(selector), watch.id.to_string()))
            })
            .collect();
        wanted.sort();
        wanted.dedup_by(|a, b| a.0 == b.0);
        wanted.into_iter().take(3).map(|(labels, id)| format!("`{labels}` (`{id}`)")).collect()
    }
}

fn adds(fix: &Fix, label: &str) -> bool {
    matches!(&fix.edit, Edit::AddField(key, _) if key == label)
}

fn near_miss(near: &NearMiss, workload: &Workload, labels: &FieldPath) -> Diagnostic {
    let NearMiss { key, value, meant_key, meant_value, gained } = near;
    let watching =
        format!("({} would select {})", counted(gained.len(), "policy", "policies"), workload.pods());
    let path = labels.field(key);
    let fix = |edit, title| Fix { title, path: path.clone(), edit, safe: false };
    if key == meant_key {
        return Diagnostic::new(&NEAR_MISS, path.clone(), format!("{value:?} matches no policy"))
            .help(format!("did you mean {meant_value:?}? {watching}"))
            .fix(fix(Edit::Replace(quoted(meant_value)), format!("write {meant_value:?}")));
    }
    let at_key = |message: String| Diagnostic::new(&NEAR_MISS, path.clone(), message).at_key();
    if (key, value) == (meant_value, meant_key) {
        return at_key(format!("\"{key}: {value}\" matches no policy"))
            .help(format!("did you mean \"{meant_key}: {meant_value}\"? {watching}"));
    }
    let diagnostic = at_key(format!("no policy selects by {key:?}"));
    if value == meant_value {
        diagnostic
            .help(format!("did you mean {meant_key:?}? {watching}"))
            .fix(fix(Edit::Rename(meant_key.clone()), format!("write `{meant_key}`")))
    } else {
        diagnostic.help(format!("did you mean \"{meant_key}: {meant_value}\"? {watching}"))
    }
}
