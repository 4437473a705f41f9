//! Findings about a policy that is applied, changed or deleted.

use gatewatch_policy::codes::{
    COUNTED_TWICE, LEFT_BY_POLICY, NEARLY_SELECTED, NO_CONTAINER, SELECTED_PODS, SELECTS_NOTHING, SHARED_NAME,
};
use gatewatch_policy::diagnostic::{Diagnostic, Edit, FieldPath, Fix, Severity};
use gatewatch_policy::model::LabelSelector;
use gatewatch_policy::nearest::nearest;
use gatewatch_policy::scope::PodScope;

use crate::index::{Index, REQUIRE_COVERAGE};
use crate::near::NearPods;
use crate::select::Tally;
use crate::text::{self, counted};
use crate::watch::{Watch, required_keys, terms};

/// Values of a key that are listed where none of them is near.
const LISTED: usize = 4;

fn spec() -> FieldPath {
    FieldPath::root().field("spec")
}

pub(super) fn pod_selector() -> FieldPath {
    spec().field("podSelector")
}

impl Index {
    /// All that is to be said of a policy that is applied, beside what it takes out of sight
    /// ([`on_policy_change`](Self::on_policy_change)): what it selects, what it misses by a slip, and what other
    /// policies do as well. Nothing is said of pods where no pod or template is known.
    pub fn on_policy(&self, watch: &Watch) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if let Some(scope) = &watch.scope.pods
            && !self.classes.is_empty()
        {
            let selection = self.classes.select(scope);
            if selection.is_empty() {
                found.push(self.nothing_selected(watch, scope));
            } else {
                // What selects everything needn't be told that.
                if *scope != PodScope::default() {
                    let summary = format!("this policy selects {}", selection.phrase());
                    found.push(Diagnostic::new(&SELECTED_PODS, selector_path(scope), summary));
                }
                found.extend(self.near_pods(watch).into_iter().map(|near| nearly(&near)));
                found.extend(self.excluded(watch));
            }
        }
        self.on_other_policies(watch, &mut found);
        found
    }

    /// What a policy selects now, for a person: `all 3 pods`.
    pub fn selected(&self, watch: &Watch) -> String {
        let Some(scope) = &watch.scope.pods else { return "no pod".to_owned() };
        let (selected, all) = (self.classes.select(scope), self.classes.select(&PodScope::default()));
        let every = if selected.total() == all.total() && !all.is_empty() { "all " } else { "" };
        format!("{every}{}", selected.phrase())
    }

    fn on_other_policies(&self, watch: &Watch, found: &mut Vec<Diagnostic>) {
        for clash in self.clashes(watch) {
            let message = format!(
                "same hook and filters as {} for some of the same pods: every policy counts each of these events",
                text::policies(&clash.others)
            );
            found.push(
                Diagnostic::new(&COUNTED_TWICE, clash.hook, message)
                    .help("keep the hook in one of them, or sum only one policy's counter"),
            );
        }
        let namesakes = self.namesakes(&watch.id);
        if !namesakes.is_empty() {
            let message = format!(
                "same name as {}: the counter's label `policy` has no namespace, so their counts cannot be \
                 distinguished",
                text::policies(namesakes)
            );
            found.push(
                Diagnostic::new(&SHARED_NAME, FieldPath::root().field("metadata").field("name"), message)
                    .help("rename one of them"),
            );
        }
    }

    /// What is said when a policy is changed, or deleted (`None`): what it takes out of sight. That is an error where
    /// a namespace requires coverage and nothing else watches its pods.
    pub fn on_policy_change(&self, was: &Watch, becomes: Option<&Watch>) -> Vec<Diagnostic> {
        let loss = self.loss(was, becomes);
        if loss.lost.is_empty() {
            return Vec::new();
        }
        let path = match becomes.and_then(|watch| watch.scope.pods.as_ref()) {
            Some(scope) => selector_path(scope),
            None => FieldPath::root().field("metadata").field("name"),
        };
        let unwatched = match loss.unwatched.total() {
            none if none.is_empty() => "another policy still selects each of them".to_owned(),
            all if all == loss.lost.total() => "no other policy selects them".to_owned(),
            some => format!("not selected by any other policy: {}", some.phrase()),
        };
        let Tally { pods, workloads } = loss.lost.total();
        let verb = if pods + workloads == 1 { "is" } else { "are" };
        let gone = loss.lost.phrase();
        let message = match becomes {
            Some(_) => format!("{gone} {verb} no longer selected by this policy; {unwatched}"),
            None => format!("{gone} {verb} selected by this policy, which is being deleted; {unwatched}"),
        };
        let mut diagnostic = Diagnostic::new(&LEFT_BY_POLICY, path, message);
        if !loss.required.is_empty() {
            diagnostic = diagnostic
                .severity(Severity::Error)
                .help(format!(
                    "{} must be selected because of the annotation {REQUIRE_COVERAGE}: apply another policy for them \
                     first",
                    loss.required.phrase()
                ));
        }
        vec![diagnostic]
    }

    /// Why a policy selects nothing, and what it may have meant.
    fn nothing_selected(&self, watch: &Watch, scope: &PodScope) -> Diagnostic {
        if let (Some(others), Some(selector)) = (self.other_containers(watch), &scope.containers) {
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
        if let Some(near) = self.near_pods(watch).first() {
            return suggested(diagnostic, near);
        }
        match self.why_nothing(scope, selector) {
            Some((path, why)) => Diagnostic { path, ..diagnostic.help(why) },
            None => diagnostic,
        }
    }

    /// The first reason that explains it: another namespace, a key that nothing has, values that do occur, entries
    /// that hold one by one but not together.
    fn why_nothing(&self, scope: &PodScope, selector: &LabelSelector) -> Option<(FieldPath, String)> {
        if let Some(namespace) = &scope.namespace {
            let anywhere = self.classes.select(&PodScope { namespace: None, ..scope.clone() });
            if !anywhere.is_empty() {
                let why = format!(
                    "{} would match, but this policy applies only to `{namespace}`",
                    anywhere.phrase()
                );
                return Some((pod_selector(), why));
            }
        }
        for key in terms(selector).map(|term| term.key).chain(required_keys(selector)) {
            if self.classes.labels.key(key).is_none() && !crate::watch::is_synthetic(key) {
                return Some((pod_selector(), format!("no pod has a label `{key}`")));
            }
        }
        let reach = |term: &crate::watch::Term<'_>| {
            term.values.iter().any(|value| self.classes.labels.get(term.key, value).is_some())
        };
        let unreached = terms(selector).find(|term| !crate::watch::is_synthetic(term.key) && !reach(term));
        if let Some(term) = unreached {
            let mut values: Vec<(&str, usize)> =
                self.classes.labels.values(term.key).map(|(value, ids)| (value, ids.len())).collect();
            values.sort_by_key(|(value, count)| (std::cmp::Reverse(*count), *value));
            let path = term.path(&pod_selector());
            // Wider than a slip: nothing else was found.
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

/// Where the selector stands that decides what a policy watches.
fn selector_path(scope: &PodScope) -> FieldPath {
    match (&scope.pods, &scope.containers) {
        (Some(_), _) => pod_selector(),
        (None, Some(_)) => spec().field("containerSelector"),
        (None, None) => FieldPath::root().field("metadata").field("name"),
    }
}

/// A place from the selector as one from the policy.
fn in_policy(place: &FieldPath) -> FieldPath {
    FieldPath(pod_selector().0.into_iter().chain(place.0.iter().cloned()).collect())
}

fn suggested(diagnostic: Diagnostic, near: &NearPods) -> Diagnostic {
    let (key, value) = &near.found;
    let diagnostic = Diagnostic { path: in_policy(&near.place), ..diagnostic };
    let diagnostic =
        diagnostic.help(format!("did you mean `{key}={value}`? {} would match", near.missed.phrase()));
    match fix(near) {
        Some(fix) => diagnostic.fix(fix),
        None => diagnostic,
    }
}

fn nearly(near: &NearPods) -> Diagnostic {
    let ((wanted_key, wanted), (key, value)) = (&near.wanted, &near.found);
    let total = near.missed.total();
    let verb = if total.pods + total.workloads == 1 { "has" } else { "have" };
    let message = format!(
        "{} {verb} `{key}={value}`, a likely typo of `{wanted_key}={wanted}`, which this policy selects",
        near.missed.phrase()
    );
    let help = match total.workloads {
        0 => format!("if it is a typo, relabel {}; if not, list both values here", counted_them(total.pods)),
        _ => "if it is a typo, fix their templates; if not, list both values here".to_owned(),
    };
    Diagnostic::new(&NEARLY_SELECTED, in_policy(&near.place), message).help(help)
}

fn counted_them(pods: usize) -> String {
    if pods == 1 { "it".to_owned() } else { format!("these {}", counted(pods, "pod", "pods")) }
}

/// The policy's label replaced by the pods': as a fix, where one edit does it.
fn fix(near: &NearPods) -> Option<Fix> {
    let ((wanted_key, wanted), (key, value)) = (&near.wanted, &near.found);
    let path = in_policy(&near.place);
    let title = format!("write `{key}={value}`");
    let edit = if wanted_key == key {
        Edit::Replace(quoted(value))
    } else if wanted == value && near.place.0.len() == 2 {
        Edit::Rename(key.clone())
    } else {
        return None;
    };
    Some(Fix { title, path, edit, safe: false })
}

/// A label's value as YAML that can be nothing but a string.
pub(super) fn quoted(value: &str) -> String {
    format!("{value:?}")
}
