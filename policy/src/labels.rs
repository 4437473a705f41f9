//! Label selectors: matching labels, and checking the syntax that Kubernetes requires.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    codes::{BAD_LABEL_KEY, BAD_LABEL_VALUE, LABEL_ARITY, LABEL_CONTRADICTION},
    diagnostic::{Diagnostic, Edit, FieldPath, Fix},
    model::{LabelExpression, LabelOperator, LabelSelector},
    names,
};

/// The key by which a cluster policy can select pods by the name of their namespace: every pod has it, unless the
/// pod has a label of that name itself. It is not a legal label key, and the only one that needs none.
pub const NAMESPACE_KEY: &str = "k8s:io.kubernetes.pod.namespace";

/// How the pods of a namespace of Kubernetes are selected, which `matchNamespaces` doesn't do.
pub(crate) fn namespace_help(namespace: &str) -> String {
    format!(
        "`matchNamespaces` is about namespaces of the kernel; for pods of the Kubernetes namespace `{namespace}` write \
         a `TracingPolicyNamespaced` in it, or `podSelector: {{matchLabels: {{\"{NAMESPACE_KEY}\": {namespace}}}}}`"
    )
}

impl LabelSelector {
    /// Whether an object with these labels is selected: every entry of `matchLabels` and of `matchExpressions`
    /// holds. `NotIn` and `DoesNotExist` hold for an object without the key; `In` without values holds for none,
    /// `NotIn` without values for all.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_by(|key| labels.get(key).map(String::as_str))
    }

    /// The same for labels that are looked up: `value` gives a key's value, where the object has the key.
    pub fn matches_by<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.match_labels.iter().all(|(key, wanted)| value(key) == Some(wanted))
            && self.match_expressions.iter().all(|expression| expression.holds(value(&expression.key)))
    }

    /// Whether it has no entries, and so selects everything.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }
}

impl LabelExpression {
    /// Whether an object satisfies this entry that has this value under the key, or lacks the key.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let named = |value: &str| self.values.iter().any(|wanted| wanted == value);
        match self.operator {
            LabelOperator::In => value.is_some_and(named),
            LabelOperator::NotIn => !value.is_some_and(named),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

/// What the labels belong to; that decides which keys and values there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Labels of pods.
    Pod,
    /// The two properties of containers, `name` and `repo`.
    Container,
    /// Labels of nodes.
    Node,
}

/// Checks the form of the selector at `path`: keys, values, number of values, contradictions.
///
/// Tetragon's own schema checks the values of `matchLabels` only and evaluates everything else literally, so that
/// most of these mistakes would silently select nothing or everything.
pub fn check(selector: &LabelSelector, subject: Subject, path: &FieldPath) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (key, value) in &selector.match_labels {
        let at = || path.field("matchLabels").field(key);
        check_key(key, subject, at, true, &mut found);
        if let Err(e) = names::label_value(value) {
            let mut diagnostic = Diagnostic::new(
                &BAD_LABEL_VALUE,
                at(),
                format!("invalid label value {value:?}: {e}; the API server rejects the policy"),
            );
            if subject == Subject::Container {
                diagnostic = diagnostic.help(format!(
                    "`matchLabels` accepts only valid label values; use `matchExpressions`: `{{key: {key}, operator: \
                     In, values: [{value:?}]}}`"
                ));
            }
            found.push(diagnostic);
        }
    }
    for (i, expression) in selector.match_expressions.iter().enumerate() {
        check_expression(expression, subject, &path.field("matchExpressions").index(i), &mut found);
    }
    if found.is_empty() {
        contradictions(selector, path, &mut found);
    }
    found
}

fn check_expression(
    expression: &LabelExpression,
    subject: Subject,
    path: &FieldPath,
    found: &mut Vec<Diagnostic>,
) {
    check_key(&expression.key, subject, || path.field("key"), false, found);
    let (operator, values) = (expression.operator, path.field("values"));
    match operator {
        LabelOperator::In | LabelOperator::NotIn if expression.values.is_empty() => {
            let effect = if operator == LabelOperator::In {
                "so it never selects anything"
            } else {
                "so it excludes nothing"
            };
            found.push(
                Diagnostic::new(&LABEL_ARITY, path.clone(), format!("`{operator}` has no values, {effect}"))
                    .help("add values, or remove the expression"),
            );
        }
        LabelOperator::Exists | LabelOperator::DoesNotExist if !expression.values.is_empty() => {
            let suggestion = if operator == LabelOperator::Exists { "In" } else { "NotIn" };
            found.push(
                Diagnostic::new(
                    &LABEL_ARITY,
                    values.clone(),
                    format!("`{operator}` checks only the key; these values are ignored"),
                )
                .help(format!("use `{suggestion}` to match values, or remove them"))
                .fix(Fix {
                    title: "remove the values".to_owned(),
                    path: values,
                    edit: Edit::Remove,
                    safe: false,
                }),
            );
            return;
        }
        _ => {}
    }
    for (i, value) in expression.values.iter().enumerate() {
        if let Some(reason) = impossible_value(&expression.key, value, subject) {
            found.push(Diagnostic::new(
                &BAD_LABEL_VALUE,
                values.index(i),
                format!(
                    "{value:?} is not a valid value of `{}`, so no object has it: {reason}",
                    expression.key
                ),
            ));
        }
    }
}

/// Why nothing can have this value under this key.
fn impossible_value(key: &str, value: &str, subject: Subject) -> Option<names::NameError> {
    match (subject, key) {
        // An image's repository has slashes and a port's colon.
        (Subject::Container, "repo") => value.is_empty().then_some(names::NameError::Empty),
        (Subject::Container, "name") => names::dns_label(value).err(),
        _ => names::label_value(value).err(),
    }
}

fn check_key(
    key: &str,
    subject: Subject,
    path: impl Fn() -> FieldPath,
    at_key: bool,
    found: &mut Vec<Diagnostic>,
) {
    let diagnostic = match subject {
        Subject::Pod if key == NAMESPACE_KEY => return,
        Subject::Container if matches!(key, "name" | "repo") => return,
        Subject::Container => Diagnostic::new(
            &BAD_LABEL_KEY,
            path(),
            format!("containers have no `{key}`: `containerSelector` supports only `name` and `repo`"),
        )
        .help("to select by pod labels, use `podSelector`"),
        Subject::Pod | Subject::Node => match names::label_key(key) {
            Ok(()) => return,
            Err(e) => {
                let diagnostic = Diagnostic::new(
                    &BAD_LABEL_KEY,
                    path(),
                    format!("invalid label key {key:?}, so no object has it: {e}"),
                );
                match repaired(key) {
                    Some(better) => {
                        let edit = if at_key { Edit::Rename } else { Edit::Replace };
                        diagnostic.did_you_mean(&better, edit(better.clone()))
                    }
                    None => diagnostic,
                }
            }
        },
    };
    found.push(if at_key { diagnostic.at_key() } else { diagnostic });
}

/// The same key with the two most common mistakes fixed.
fn repaired(key: &str) -> Option<String> {
    let trimmed = key.trim();
    let better = match trimmed.split_once('/') {
        Some((prefix, name)) => format!("{}/{name}", prefix.to_ascii_lowercase()),
        None => trimmed.to_owned(),
    };
    (better != key && names::label_key(&better).is_ok()).then_some(better)
}

/// What all entries together ask of one key.
#[derive(Default)]
struct Demand<'a> {
    present: bool,
    absent: bool,
    /// `None`: any value.
    allowed: Option<BTreeSet<&'a str>>,
    excluded: BTreeSet<&'a str>,
}

impl<'a> Demand<'a> {
    fn allow(&mut self, values: BTreeSet<&'a str>) {
        self.present = true;
        self.allowed = Some(match self.allowed.take() {
            Some(before) => before.intersection(&values).copied().collect(),
            None => values,
        });
    }

    /// Why no value, and no absence either, satisfies it. Complete: there are always more values than a selector
    /// names, so that exclusion alone never contradicts.
    fn contradiction(&self) -> Option<&'static str> {
        if self.present && self.absent {
            return Some("must exist and must not exist");
        }
        let allowed = self.allowed.as_ref()?;
        if allowed.is_empty() {
            return Some("must have several different values at once");
        }
        allowed.is_subset(&self.excluded).then_some("has all its allowed values excluded")
    }
}

fn contradictions(selector: &LabelSelector, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    // Labels alone can't contradict each other.
    if selector.match_expressions.is_empty() {
        return;
    }
    let mut demands = BTreeMap::<&str, Demand<'_>>::new();
    for (key, value) in &selector.match_labels {
        demands.entry(key).or_default().allow(BTreeSet::from([value.as_str()]));
    }
    let mut last = BTreeMap::<&str, usize>::new();
    for (i, expression) in selector.match_expressions.iter().enumerate() {
        let demand = demands.entry(&expression.key).or_default();
        last.insert(&expression.key, i);
        match expression.operator {
            LabelOperator::In => demand.allow(expression.values.iter().map(String::as_str).collect()),
            LabelOperator::NotIn => demand.excluded.extend(expression.values.iter().map(String::as_str)),
            LabelOperator::Exists => demand.present = true,
            LabelOperator::DoesNotExist => demand.absent = true,
        }
    }
    for (key, demand) in &demands {
        let Some(why) = demand.contradiction() else { continue };
        // It takes two entries on a key to contradict, and one of them is an expression.
        let at = match last.get(key) {
            Some(i) => path.field("matchExpressions").index(*i),
            None => path.clone(),
        };
        found.push(
            Diagnostic::new(
                &LABEL_CONTRADICTION,
                at,
                format!("nothing can be selected: label `{key}` {why}"),
            )
            .help("all entries of a selector must match; for alternatives, use two policies"),
        );
    }
}

#[cfg(test)]
mod tests;
