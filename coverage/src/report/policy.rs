//! Findings about a policy that is applied, changed or deleted.

use gatewatch_policy::{
    codes::{
        COUNTED_TWICE, LEFT_BY_POLICY, NEARLY_SELECTED, NO_CONTAINER, SELECTED_PODS, SELECTS_NOTHING,
        SHARED_NAME,
    },
    diagnostic::{Diagnostic, Edit, FieldPath, Fix, Severity},
    model::LabelSelector,
    nearest::nearest,
    scope::PodScope,
};

use crate::{
    index::{Index, REQUIRE_COVERAGE},
    indexed_policy::{IndexedPolicy, PolicyId},
    label_index::IdSet,
    limits::{Hint, Limits, comparisons},
    selection::Tally,
    terms::{is_synthetic, required_keys, terms},
    text::{self, counted},
    typos::MissedPods,
};

/// Values of a key that a message lists if none of them is similar.
const LISTED: usize = 4;

fn spec() -> FieldPath {
    FieldPath::root().field("spec")
}

pub(super) fn pod_selector() -> FieldPath {
    spec().field("podSelector")
}

impl Index {
    /// Reports what an applied policy selects, what it misses because of a likely typo, and which other policies count
    /// the same. Reports nothing about pods while the index has none. Pods that it no longer selects are the part of
    /// [`on_policy_change`](Self::on_policy_change).
    pub fn on_policy(&self, policy: &IndexedPolicy) -> Vec<Diagnostic> {
        self.on_policy_within(policy, &Limits::none())
    }

    /// The same within limits. The limits name the checks that were left out.
    pub fn on_policy_within(&self, policy: &IndexedPolicy, limits: &Limits) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if let Some(scope) = &policy.scope.pods
            && !self.workloads.is_empty()
        {
            let selection = self.workloads.select(scope);
            if selection.is_empty() {
                found.push(self.nothing_selected(policy, scope, limits));
            } else {
                // A policy that selects everything needs no summary.
                if *scope != PodScope::default() {
                    let summary = format!("this policy selects {}", selection.phrase());
                    found.push(Diagnostic::new(&SELECTED_PODS, selector_path(scope), summary));
                }
                found.extend(self.missed_pods(policy, limits).into_iter().map(|pods| missed_pods(&pods)));
                found.extend(self.excluded(policy, limits));
            }
        }
        self.on_other_policies(policy, limits, &mut found);
        found
    }

    /// A summary of what a policy selects now, for a message: `all 3 pods`.
    pub fn selected(&self, policy: &IndexedPolicy) -> String {
        let Some(scope) = &policy.scope.pods else { return "no pod".to_owned() };
        let everything = PodScope { namespace: scope.namespace.clone(), ..PodScope::default() };
        let (selected, all) = (self.workloads.select(scope), self.workloads.select(&everything));
        let every = if selected.total() == all.total() && !all.is_empty() { "all " } else { "" };
        format!("{every}{}", selected.phrase())
    }

    fn on_other_policies(&self, policy: &IndexedPolicy, limits: &Limits, found: &mut Vec<Diagnostic>) {
        for duplicate in self.duplicate_hooks(policy, limits) {
            let message = format!(
                "same hook and filters as {} for some of the same pods: every policy counts each of these events",
                text::policies(&duplicate.others)
            );
            found.push(
                Diagnostic::new(&COUNTED_TWICE, duplicate.hook, message)
                    .help("keep the hook in one of them, or sum only one policy's counter"),
            );
        }
        let namesakes = self.namesakes(&policy.id);
        if !namesakes.is_empty() {
            let own = policy.id.namespace.as_deref();
            let (shown, hidden): (Vec<&PolicyId>, Vec<_>) = namesakes
                .into_iter()
                .partition(|other| other.namespace.is_none() || limits.may_name_others(own));
            let others = match (shown.is_empty(), hidden.len()) {
                (_, 0) => text::policies(shown),
                (true, count) => {
                    counted(count, "policy of another namespace", "policies of other namespaces")
                }
                (false, _) => format!("{} and policies of other namespaces", text::policies(shown)),
            };
            let message = format!(
                "same name as {others}: the counter's label `policy` has no namespace, so their counts cannot be \
                 distinguished"
            );
            found.push(
                Diagnostic::new(&SHARED_NAME, FieldPath::root().field("metadata").field("name"), message)
                    .help("rename one of them"),
            );
        }
    }

    /// Reports the pods that a changed or deleted (`None`) policy no longer selects. It is an error if a namespace
    /// requires coverage and no other policy selects its pods.
    pub fn on_policy_change(&self, old: &IndexedPolicy, new: Option<&IndexedPolicy>) -> Vec<Diagnostic> {
        let deselection = self.deselection(old, new);
        if deselection.deselected.is_empty() {
            return Vec::new();
        }
        let path = match new.and_then(|policy| policy.scope.pods.as_ref()) {
            Some(scope) => selector_path(scope),
            None => FieldPath::root().field("metadata").field("name"),
        };
        let loaded = if self.knows_loaded() { "loaded " } else { "" };
        let uncovered = match deselection.uncovered.total() {
            none if none.is_empty() => format!("another {loaded}policy still selects each of them"),
            all if all == deselection.deselected.total() => format!("no other {loaded}policy selects them"),
            some => format!("not selected by any other {loaded}policy: {}", some.phrase()),
        };
        let Tally { pods, workloads } = deselection.deselected.total();
        let verb = if pods + workloads == 1 { "is" } else { "are" };
        let deselected = deselection.deselected.phrase();
        let message = match new {
            Some(_) => format!("{deselected} {verb} no longer selected by this policy; {uncovered}"),
            None => {
                format!("{deselected} {verb} selected by this policy, which is being deleted; {uncovered}")
            }
        };
        let mut diagnostic = Diagnostic::new(&LEFT_BY_POLICY, path, message);
        if !deselection.required.is_empty() {
            diagnostic = diagnostic
                .severity(Severity::Error)
                .help(format!(
                    "{} must be selected because of the annotation {REQUIRE_COVERAGE}: apply another policy for them \
                     first",
                    deselection.required.phrase()
                ));
        }
        vec![diagnostic]
    }

    /// Reports that a policy selects nothing, with the likely reason.
    fn nothing_selected(&self, policy: &IndexedPolicy, scope: &PodScope, limits: &Limits) -> Diagnostic {
        if let (Some(others), Some(selector)) = (self.other_containers(policy), &scope.containers) {
            let names: Vec<String> =
                others.iter().take(LISTED).map(|(name, n)| format!("`{name}` ({n})")).collect();
            return Diagnostic::new(
                &NO_CONTAINER,
                spec().field("containerSelector"),
                format!(
                    "no pod that this policy selects has a container `{}`, so it counts nothing",
                    text::selector(selector)
                ),
            )
            .help(format!("their containers are {}", names.join(", ")));
        }
        let Some(selector) = &scope.pods else {
            let message = match &scope.namespace {
                Some(namespace) => {
                    format!("namespace `{namespace}` has no pods, so this policy counts nothing")
                }
                None => "no pods exist that this policy selects".to_owned(),
            };
            return Diagnostic::new(&SELECTS_NOTHING, selector_path(scope), message);
        };
        let place = match &scope.namespace {
            Some(namespace) => format!(" in namespace `{namespace}`"),
            None => String::new(),
        };
        let message = format!(
            "no pod{place} has `{}`, so this policy currently counts nothing",
            text::selector(selector)
        );
        let diagnostic = Diagnostic::new(&SELECTS_NOTHING, pod_selector(), message);
        if let Some(pods) = self.missed_pods(policy, limits).first() {
            return with_suggestion(diagnostic, pods);
        }
        match self.empty_selection_reason(scope, selector, limits) {
            Some((path, reason)) => Diagnostic { path, ..diagnostic.help(reason) },
            None => diagnostic,
        }
    }

    /// The first reason that explains an empty selection: another namespace, a key that no pod has, other values of the
    /// key, or labels that no pod has together.
    fn empty_selection_reason(
        &self,
        scope: &PodScope,
        selector: &LabelSelector,
        limits: &Limits,
    ) -> Option<(FieldPath, String)> {
        let names_others = limits.may_name_others(scope.namespace.as_deref());
        if let Some(namespace) = scope.namespace.as_ref().filter(|_| names_others) {
            let anywhere = self.workloads.select(&PodScope { namespace: None, ..scope.clone() });
            if !anywhere.is_empty() {
                let reason = format!(
                    "{} would match, but this policy applies only to `{namespace}`",
                    anywhere.phrase()
                );
                return Some((pod_selector(), reason));
            }
        }
        // The namespace whose labels a hint may contain; `None` for all.
        let visible = scope.namespace.as_deref().filter(|_| !names_others);
        let of_namespace = visible.and_then(|name| self.workloads.in_namespace(name)).map_or(0, IdSet::len);
        let work = |n: usize| limits.allows(Hint::EmptySelection, n);
        for key in terms(selector).map(|term| term.key).chain(required_keys(selector)) {
            if !work(1 + of_namespace) {
                return None;
            }
            if !is_synthetic(key) && !self.workloads.has_key(key, visible) {
                return Some((pod_selector(), format!("no pod has a label `{key}`")));
            }
        }
        for term in terms(selector).filter(|term| !is_synthetic(term.key)) {
            if !work(1 + of_namespace) {
                return None;
            }
            let mut values = self.workloads.values_of(term.key, visible);
            if term.values.iter().any(|value| values.iter().any(|(known, _)| known == value)) {
                continue;
            }
            let longest = values.iter().map(|(value, _)| *value).max_by_key(|value| value.len());
            if !work(comparisons(longest.unwrap_or_default(), values.len())) {
                return None;
            }
            values.sort_by_key(|(value, count)| (std::cmp::Reverse(*count), *value));
            let path = term.path(&pod_selector());
            // Less similar than a likely typo, because nothing else was found.
            let all = values.iter().map(|(value, _)| *value);
            if let Some(meant) = term.values.first().and_then(|value| nearest(value, all)) {
                return Some((path, format!("did you mean `{}={meant}`?", term.key)));
            }
            let listed: Vec<String> =
                values.iter().take(LISTED).map(|(value, _)| format!("`{value}`")).collect();
            let rest = if values.len() > LISTED { " and others" } else { "" };
            return Some((path, format!("existing values of `{}`: {}{rest}", term.key, listed.join(", "))));
        }
        (terms(selector).count() > 1)
            .then(|| (pod_selector(), "each of these labels exists, but no pod has all of them".to_owned()))
    }
}

/// The field path of the selector that decides what a policy selects.
fn selector_path(scope: &PodScope) -> FieldPath {
    match (&scope.pods, &scope.containers) {
        (Some(_), _) => pod_selector(),
        (None, Some(_)) => spec().field("containerSelector"),
        (None, None) => FieldPath::root().field("metadata").field("name"),
    }
}

/// Turns a path relative to the selector into one relative to the policy.
fn in_policy(path: &FieldPath) -> FieldPath {
    FieldPath(pod_selector().0.into_iter().chain(path.0.iter().cloned()).collect())
}

fn with_suggestion(diagnostic: Diagnostic, pods: &MissedPods) -> Diagnostic {
    let (key, value) = &pods.found;
    let diagnostic = Diagnostic { path: in_policy(&pods.path), ..diagnostic };
    let diagnostic =
        diagnostic.help(format!("did you mean `{key}={value}`? {} would match", pods.missed.phrase()));
    match fix(pods) {
        Some(fix) => diagnostic.fix(fix),
        None => diagnostic,
    }
}

fn missed_pods(pods: &MissedPods) -> Diagnostic {
    let ((wanted_key, wanted), (key, value)) = (&pods.wanted, &pods.found);
    let total = pods.missed.total();
    let verb = if total.pods + total.workloads == 1 { "has" } else { "have" };
    let message = format!(
        "{} {verb} `{key}={value}`, a likely typo of `{wanted_key}={wanted}`, which this policy selects",
        pods.missed.phrase()
    );
    let help = match total.workloads {
        0 => format!("if it is a typo, relabel {}; if not, list both values here", these_pods(total.pods)),
        _ => "if it is a typo, fix their templates; if not, list both values here".to_owned(),
    };
    Diagnostic::new(&NEARLY_SELECTED, in_policy(&pods.path), message).help(help)
}

fn these_pods(pods: usize) -> String {
    if pods == 1 { "it".to_owned() } else { format!("these {}", counted(pods, "pod", "pods")) }
}

/// The fix that replaces the policy's label with the pods' label, if one edit is enough.
fn fix(pods: &MissedPods) -> Option<Fix> {
    let ((wanted_key, wanted), (key, value)) = (&pods.wanted, &pods.found);
    let path = in_policy(&pods.path);
    let title = format!("write `{key}={value}`");
    let edit = if wanted_key == key {
        Edit::Replace(quoted(value))
    } else if wanted == value && pods.path.0.len() == 2 {
        Edit::Rename(key.clone())
    } else {
        return None;
    };
    Some(Fix { title, path, edit, safe: false })
}

/// A label's value as a quoted YAML string.
pub(super) fn quoted(value: &str) -> String {
    format!("{value:?}")
}
