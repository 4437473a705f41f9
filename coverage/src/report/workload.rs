//! Findings about a pod or a workload that is applied or relabelled.

use gatewatch_policy::{
    codes::{LABEL_NOT_ON_PODS, LEFT_BY_RELABEL, NEAR_MISS, NOT_COVERED, SIBLING_DIFFERS},
    diagnostic::{Diagnostic, Edit, FieldPath, Fix, Severity},
};

use super::policy::quoted;
use crate::{
    index::{Index, REQUIRE_COVERAGE},
    limits::Limits,
    shape::{Shape, Workload},
    terms::terms,
    text::{self, counted},
    typos::LabelTypo,
};

impl Index {
    /// Reports on an applied pod or workload: likely typos in its labels, misplaced labels, related workloads with other
    /// labels, and missing coverage where it is required. Changed labels are the part of
    /// [`on_relabel`](Self::on_relabel).
    pub fn on_workload(&self, workload: &Workload) -> Vec<Diagnostic> {
        self.on_workload_within(workload, &Limits::none())
    }

    /// The same within limits. The limits name the checks that were left out; required coverage is always checked.
    pub fn on_workload_within(&self, workload: &Workload, limits: &Limits) -> Vec<Diagnostic> {
        let labels = workload.labels_path();
        let typos = self.label_typos(&workload.shape, limits);
        let mut found: Vec<Diagnostic> =
            typos.iter().map(|typo| label_typo(typo, workload, &labels)).collect();
        for misplaced in self.misplaced_labels(workload, limits) {
            let (path, location) = if misplaced.in_selector {
                (FieldPath::root().field("spec").field("selector"), "in this object's selector")
            } else {
                (FieldPath::root().field("metadata").field("labels").field(&misplaced.key), "on this object")
            };
            let label = format!("{}={}", misplaced.key, misplaced.value);
            found.push(
                Diagnostic::new(
                    &LABEL_NOT_ON_PODS,
                    path,
                    format!(
                        "`{label}` is set only {location}, not on the pods that policies match: {} would select them",
                        text::policies(&misplaced.gained)
                    ),
                )
                .help(format!("add it under `{labels}` too"))
                .fix(Fix {
                    title: format!("add `{label}` to the template"),
                    path: labels.clone(),
                    edit: Edit::AddField(misplaced.key, quoted(&misplaced.value)),
                    safe: false,
                }),
            );
        }
        for related in self.related_workloads(workload, limits) {
            if found.iter().any(|f| f.fix.as_ref().is_some_and(|fix| adds(fix, &related.key))) {
                continue;
            }
            let label = format!("{}={}", related.key, related.value);
            found.push(
                Diagnostic::new(
                    &SIBLING_DIFFERS,
                    labels.clone(),
                    format!(
                        "the pods of {} `{}` have `{label}` and are selected by {}; these pods have no `{}` and are not",
                        related.kind,
                        related.name,
                        text::policies(&related.gained),
                        related.key
                    ),
                )
                .help(format!("if a policy should select both, add `{label}`")),
            );
        }
        found.extend(self.not_covered(workload, &typos, limits));
        found
    }

    /// Reports the policies that no longer select a pod or template after its labels change. It is an error if its
    /// namespace requires coverage and no policy is left.
    pub fn on_relabel(&self, old: &Shape, new: &Workload) -> Vec<Diagnostic> {
        let deselecting = self.deselecting_policies(old, &new.shape);
        if deselecting.is_empty() {
            return Vec::new();
        }
        let count = counted(deselecting.len(), "policy", "policies");
        let verb = if deselecting.len() == 1 { "selects" } else { "select" };
        let message = format!("{count} no longer {verb} {}: {}", new.pods(), text::policies(deselecting));
        let mut diagnostic = Diagnostic::new(&LEFT_BY_RELABEL, new.labels_path(), message);
        if self.lacks_required_coverage(new) {
            diagnostic = diagnostic.severity(Severity::Error).help(format!(
                "namespace `{}` requires that {} selects every pod, and no policy would be left",
                new.shape.namespace,
                self.a_policy()
            ));
        }
        vec![diagnostic]
    }

    /// Whether no policy covers a pod or workload although its namespace requires it.
    pub fn lacks_required_coverage(&self, workload: &Workload) -> bool {
        self.requires_coverage(&workload.shape.namespace) && !self.is_covered(&workload.shape, &[])
    }

    /// The kind of policy that required coverage means, for a message.
    pub(super) fn a_policy(&self) -> &'static str {
        if self.knows_loaded() { "a loaded policy" } else { "a policy" }
    }

    /// Reports missing coverage where it is required.
    pub fn required_coverage(&self, workload: &Workload, limits: &Limits) -> Option<Diagnostic> {
        self.not_covered(workload, &[], limits)
    }

    fn not_covered(&self, workload: &Workload, typos: &[LabelTypo], limits: &Limits) -> Option<Diagnostic> {
        if !self.lacks_required_coverage(workload) {
            return None;
        }
        let namespace = &workload.shape.namespace;
        let selecting = self.selecting_policies(&workload.shape);
        if !selecting.is_empty() {
            let message = format!(
                "no node has loaded a policy that selects {}, but namespace `{namespace}` requires it \
                 ({REQUIRE_COVERAGE})",
                workload.pods()
            );
            let help = format!(
                "{} must be loaded on a node first; `kubectl get policycoverages` lists its state",
                text::policies(selecting)
            );
            return Some(Diagnostic::new(&NOT_COVERED, workload.labels_path(), message).help(help));
        }
        let message = format!(
            "no policy selects {}, but namespace `{namespace}` requires it ({REQUIRE_COVERAGE})",
            workload.pods()
        );
        let diagnostic = Diagnostic::new(&NOT_COVERED, workload.labels_path(), message);
        if let Some(typo) = typos.first() {
            return Some(diagnostic.help(format!("did you mean `{}={}`?", typo.meant_key, typo.meant_value)));
        }
        let wanted = self.selectors_for(namespace, limits);
        Some(if wanted.is_empty() {
            diagnostic.help("apply a policy that selects it first")
        } else {
            diagnostic.help(format!("existing policies select {}", wanted.join(", ")))
        })
    }

    /// The selectors of the first few policies for a namespace.
    fn selectors_for(&self, namespace: &str, limits: &Limits) -> Vec<String> {
        let mut wanted: Vec<(String, String)> = self
            .policies()
            .filter_map(|policy| {
                let scope = policy.scope.pods.as_ref()?;
                let selector = scope.pods.as_ref().filter(|selector| terms(selector).next().is_some())?;
                let here = scope.namespace.as_ref().is_none_or(|wanted| wanted == namespace);
                (here && limits.may_show(selector)).then(|| (text::selector(selector), policy.id.to_string()))
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

fn label_typo(typo: &LabelTypo, workload: &Workload, labels: &FieldPath) -> Diagnostic {
    let LabelTypo { key, value, meant_key, meant_value, gained } = typo;
    let gain = format!("({} would select {})", counted(gained.len(), "policy", "policies"), workload.pods());
    let path = labels.field(key);
    let fix = |edit, title| Fix { title, path: path.clone(), edit, safe: false };
    if key == meant_key {
        return Diagnostic::new(&NEAR_MISS, path.clone(), format!("{value:?} matches no policy"))
            .help(format!("did you mean {meant_value:?}? {gain}"))
            .fix(fix(Edit::Replace(quoted(meant_value)), format!("write {meant_value:?}")));
    }
    let at_key = |message: String| Diagnostic::new(&NEAR_MISS, path.clone(), message).at_key();
    if (key, value) == (meant_value, meant_key) {
        return at_key(format!("\"{key}: {value}\" matches no policy"))
            .help(format!("did you mean \"{meant_key}: {meant_value}\"? {gain}"));
    }
    let diagnostic = at_key(format!("no policy selects by {key:?}"));
    if value == meant_value {
        diagnostic
            .help(format!("did you mean {meant_key:?}? {gain}"))
            .fix(fix(Edit::Rename(meant_key.clone()), format!("write `{meant_key}`")))
    } else {
        diagnostic.help(format!("did you mean \"{meant_key}: {meant_value}\"? {gain}"))
    }
}
