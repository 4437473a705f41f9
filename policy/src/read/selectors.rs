//! Selectors: of events (`selectors`, `selectorsMacros`) and of labels.

use std::collections::BTreeMap;

use super::{
    actions::action,
    cursor::Cursor,
    fields::Object,
    names::{LABEL_SELECTOR, SELECTOR},
};
use crate::{
    model::{
        ArgFilter, BinaryFilter, CapabilityFilter, CapabilitySet, LabelExpression, LabelOperator,
        LabelSelector, NamespaceFilter, NamespaceKind, Operator, PidFilter, Selector, WorkloadFilter,
    },
    source::{Node, Value},
    synonyms::WordKind,
    values::integer_or_range,
};

const MEMBERSHIP: &[&str] = &[Operator::In.name(), Operator::NotIn.name()];
const BINARY_OPERATORS: &[&str] = &[
    Operator::In.name(),
    Operator::NotIn.name(),
    Operator::Prefix.name(),
    Operator::NotPrefix.name(),
    Operator::Postfix.name(),
    Operator::NotPostfix.name(),
];

/// The operators that the schema has for `matchArgs`. `In` and `NotIn` are of other filters, and `NotSportPriv` has
/// this one spelling.
fn arg_operators() -> Vec<&'static str> {
    let allowed = |name: &str| match Operator::from_name(name) {
        Some(Operator::In | Operator::NotIn) | None => false,
        Some(Operator::NotSPortPriv) => name == Operator::NotSPortPriv.name(),
        Some(_) => true,
    };
    Operator::NAMES.iter().copied().filter(|name| allowed(name)).collect()
}

/// An entry of `selectors`, or a macro.
pub(super) fn selector(cursor: &Cursor<'_>) -> Selector {
    let Some(object) = cursor.object(SELECTOR) else { return Selector::default() };
    let operators = arg_operators();
    let args = |name| object.list(name, |c| arg_filter(c, &operators));
    Selector {
        match_args: args("matchArgs"),
        match_data: args("matchData"),
        match_return_args: args("matchReturnArgs"),
        match_binaries: object.list("matchBinaries", binary_filter),
        match_parent_binaries: object.list("matchParentBinaries", binary_filter),
        match_pids: object.list("matchPIDs", pid_filter),
        match_namespaces: object.list("matchNamespaces", namespace_filter),
        match_capabilities: object.list("matchCapabilities", capability_filter),
        match_namespace_changes: object.list("matchNamespaceChanges", |c| {
            match c.object(&["operator", "values"]) {
                Some(object) => (operator(&object, MEMBERSHIP), object.required_texts("values")),
                None => (Operator::In, Vec::new()),
            }
        }),
        match_capability_changes: object.list("matchCapabilityChanges", capability_filter),
        match_workloads: object.get("matchWorkloads").map(|c| workload_filter(&c)).into_iter().collect(),
        match_actions: object.list("matchActions", action),
        match_return_actions: object.list("matchReturnActions", action),
        macros: object.texts("macros"),
        label: object.text("label"),
    }
}

/// The operator of a filter; one that can't be read counts as `Equal` or `In`, so that the filter stays a filter.
fn operator(object: &Object<'_>, words: &[&'static str]) -> Operator {
    let fallback = if words.contains(&Operator::In.name()) { Operator::In } else { Operator::Equal };
    let kind =
        WordKind::Operator { numbers: object.get("values").is_some_and(|values| numbers(values.node)) };
    object
        .required("operator", fallback.name())
        .and_then(|c| c.word(kind, words))
        .and_then(Operator::from_name)
        .unwrap_or(fallback)
}

/// Whether all of several values are numbers, or ranges of them.
fn numbers(values: &Node) -> bool {
    let number = |item: &Node| match &item.value {
        Value::Int(_) => true,
        Value::String(text) => integer_or_range(text).is_ok(),
        _ => false,
    };
    !values.items().is_empty() && values.items().iter().all(number)
}

fn arg_filter(cursor: &Cursor<'_>, operators: &[&'static str]) -> ArgFilter {
    let Some(object) = cursor.object(&["index", "args", "operator", "values"]) else {
        return ArgFilter { index: 0, args: Vec::new(), operator: Operator::Equal, values: Vec::new() };
    };
    ArgFilter {
        index: object.number("index"),
        args: object.list("args", |c| c.number(0, u32::MAX).unwrap_or_default()),
        operator: operator(&object, operators),
        values: object.texts("values"),
    }
}

fn binary_filter(cursor: &Cursor<'_>) -> BinaryFilter {
    let Some(object) = cursor.object(&["operator", "values", "followChildren"]) else {
        return BinaryFilter { operator: Operator::In, values: Vec::new(), follow_children: false };
    };
    BinaryFilter {
        operator: operator(&object, BINARY_OPERATORS),
        values: object.required_texts("values"),
        follow_children: object.flag("followChildren"),
    }
}

fn pid_filter(cursor: &Cursor<'_>) -> PidFilter {
    let Some(object) = cursor.object(&["operator", "values", "isNamespacePID", "followForks"]) else {
        return PidFilter {
            operator: Operator::In,
            values: Vec::new(),
            is_namespace_pid: false,
            follow_forks: false,
        };
    };
    let values = object.required("values", "[1]");
    PidFilter {
        operator: operator(&object, MEMBERSHIP),
        values: values.map(|c| c.list(|c| c.number(0, u32::MAX).unwrap_or_default())).unwrap_or_default(),
        is_namespace_pid: object.flag("isNamespacePID"),
        follow_forks: object.flag("followForks"),
    }
}

fn namespace_filter(cursor: &Cursor<'_>) -> NamespaceFilter {
    let object = cursor.object(&["namespace", "operator", "values"]);
    let Some(object) = object else {
        return NamespaceFilter { namespace: NamespaceKind::Pid, operator: Operator::In, values: Vec::new() };
    };
    NamespaceFilter {
        namespace: object
            .required("namespace", "Pid")
            .and_then(|c| c.word(WordKind::Namespace, NamespaceKind::NAMES))
            .and_then(NamespaceKind::from_name)
            .unwrap_or(NamespaceKind::Pid),
        operator: operator(&object, MEMBERSHIP),
        values: object.required_texts("values"),
    }
}

fn capability_filter(cursor: &Cursor<'_>) -> CapabilityFilter {
    let object = cursor.object(&["type", "operator", "values", "isNamespaceCapability"]);
    let Some(object) = object else {
        return CapabilityFilter {
            set: CapabilitySet::Effective,
            operator: Operator::In,
            values: Vec::new(),
            is_namespace_capability: false,
        };
    };
    CapabilityFilter {
        set: object
            .get("type")
            .and_then(|c| c.named_word(WordKind::Other, "capability set", CapabilitySet::NAMES))
            .and_then(CapabilitySet::from_name)
            .unwrap_or(CapabilitySet::Effective),
        operator: operator(&object, MEMBERSHIP),
        values: object.required_texts("values"),
        is_namespace_capability: object.flag("isNamespaceCapability"),
    }
}

fn workload_filter(cursor: &Cursor<'_>) -> WorkloadFilter {
    let Some(object) = cursor.object(&["podSelector", "containerSelector", "hostSelector"]) else {
        return WorkloadFilter::default();
    };
    let labels = |name| object.get(name).map(|c| label_selector(&c));
    WorkloadFilter {
        pod_selector: labels("podSelector"),
        container_selector: labels("containerSelector"),
        host_selector: labels("hostSelector"),
    }
}

/// A selector of labels.
pub(super) fn label_selector(cursor: &Cursor<'_>) -> LabelSelector {
    let Some(object) = cursor.object(LABEL_SELECTOR) else { return LabelSelector::default() };
    LabelSelector {
        match_labels: object.get("matchLabels").map(|c| texts_by_name(&c)).unwrap_or_default(),
        match_expressions: object.list("matchExpressions", label_expression),
    }
}

fn label_expression(cursor: &Cursor<'_>) -> LabelExpression {
    let object = cursor.object(&["key", "operator", "values"]);
    let Some(object) = object else {
        return LabelExpression { key: String::new(), operator: LabelOperator::Exists, values: Vec::new() };
    };
    let key = object.required_text("key", "app");
    let operator = object
        .required("operator", "In")
        .and_then(|c| c.word(WordKind::Operator { numbers: false }, LabelOperator::NAMES))
        .and_then(LabelOperator::from_name);
    let values = object.texts("values");
    // An operator that fits the values, so that these have no finding of their own.
    let fallback = if values.is_empty() { LabelOperator::Exists } else { LabelOperator::In };
    LabelExpression { key, operator: operator.unwrap_or(fallback), values }
}

/// The members of an object whose names are free.
pub(super) fn members<'a>(cursor: &Cursor<'a>) -> Vec<(&'a str, &'a Node)> {
    if let Value::Map(entries) = &cursor.node.value {
        return entries.iter().map(|e| (e.key.as_str(), &e.value)).collect();
    }
    // Reports that it is none.
    let _ = cursor.object(&[]);
    Vec::new()
}

/// An object whose names are free and whose values are strings.
pub(super) fn texts_by_name(cursor: &Cursor<'_>) -> BTreeMap<String, String> {
    members(cursor)
        .into_iter()
        .map(|(name, node)| (name.to_owned(), cursor.member(name, node).text().unwrap_or_default()))
        .collect()
}
