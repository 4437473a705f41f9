//! Label selectors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::names::names;

/// A label selector, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LabelSelector {
    /// `matchLabels`.
    pub match_labels: BTreeMap<String, String>,
    /// `matchExpressions`.
    pub match_expressions: Vec<LabelExpression>,
}

/// One entry of `matchExpressions`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LabelExpression {
    /// `key`.
    pub key: String,
    /// `operator`.
    pub operator: LabelOperator,
    /// `values`.
    pub values: Vec<String>,
}

names! {
    /// Operators of label expressions.
    #[derive(Serialize, Deserialize)]
    pub enum LabelOperator {
        In = "In",
        NotIn = "NotIn",
        Exists = "Exists",
        DoesNotExist = "DoesNotExist",
    }
}
