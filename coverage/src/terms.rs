//! The entries of a label selector, as the indexes need them.

use gatewatch_policy::{
    diagnostic::FieldPath,
    labels::NAMESPACE_KEY,
    model::{LabelOperator, LabelSelector},
};

/// An entry of a selector that requires a label with one of these values.
#[derive(Clone, Debug)]
pub(crate) struct Term<'a> {
    pub(crate) key: &'a str,
    pub(crate) values: Vec<&'a str>,
    /// Its index in `matchExpressions`; `None` for `matchLabels`.
    pub(crate) expression: Option<usize>,
}

impl Term<'_> {
    /// The field path of one of its values; `selector` is the path of the selector.
    pub(crate) fn value_path(&self, selector: &FieldPath, value: usize) -> FieldPath {
        match self.expression {
            None => selector.field("matchLabels").field(self.key),
            Some(i) => selector.field("matchExpressions").index(i).field("values").index(value),
        }
    }

    /// The field path of the entry; `selector` is the path of the selector.
    pub(crate) fn path(&self, selector: &FieldPath) -> FieldPath {
        match self.expression {
            None => selector.field("matchLabels").field(self.key),
            Some(i) => selector.field("matchExpressions").index(i),
        }
    }
}

/// The entries of a selector that require values.
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

/// The keys that must exist, with any value.
pub(crate) fn required_keys(selector: &LabelSelector) -> impl Iterator<Item = &str> {
    let expressions = selector.match_expressions.iter();
    expressions.filter(|e| e.operator == LabelOperator::Exists).map(|e| e.key.as_str())
}

/// Whether a key means something other than a label.
pub(crate) fn is_synthetic(key: &str) -> bool {
    key == NAMESPACE_KEY
}
