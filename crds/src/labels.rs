//! Label selectors as the policy language has them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Selects objects by their labels: all of matchLabels and all of matchExpressions must hold. An empty selector
/// selects everything.
//
// A type of our own and not the API machinery's, because the schema of the kind is stricter on the values of
// `matchLabels` and names the operators.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that the object must have, as key and value. Equivalent to an expression with `In` and one value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "label_values")]
    pub match_labels: BTreeMap<String, String>,

    /// Conditions on label keys. All must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<LabelExpression>,
}

impl LabelSelector {
    /// Whether this is `{}`, which selects everything.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }
}

/// One condition on the value of a label key.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelExpression {
    /// Key of the label.
    pub key: String,

    /// Operator of the comparison. In and `NotIn` take values; Exists and `DoesNotExist` take none.
    pub operator: LabelOperator,

    /// Values to compare the label with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
}

/// The operators of label expressions.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum LabelOperator {
    /// The label exists with one of the values.
    In,
    /// The label is absent, or has none of the values.
    NotIn,
    /// The label exists.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl LabelOperator {
    /// The operator as it is written in a selector.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
        }
    }
}

/// To the API machinery's type, for `kube::core::Selector` and list parameters.
impl From<LabelSelector> for meta::LabelSelector {
    fn from(selector: LabelSelector) -> Self {
        let expression = |e: LabelExpression| meta::LabelSelectorRequirement {
            key: e.key,
            operator: e.operator.as_str().to_owned(),
            // `None` is an error to the API machinery where the operator takes values; an empty list is not.
            values: match e.operator {
                LabelOperator::In | LabelOperator::NotIn => Some(e.values),
                LabelOperator::Exists | LabelOperator::DoesNotExist => None,
            },
        };
        let labels = selector.match_labels;
        let expressions: Vec<_> = selector.match_expressions.into_iter().map(expression).collect();
        Self {
            match_labels: (!labels.is_empty()).then_some(labels),
            match_expressions: (!expressions.is_empty()).then_some(expressions),
        }
    }
}

/// `matchLabels`: the values are legal label values (apimachinery `validation.IsValidLabelValue`), the keys are free.
fn label_values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": {
            "type": "string",
            "maxLength": 63,
            "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_keeps_its_meaning_as_the_api_machinery_type() {
        let selector: LabelSelector = serde_json::from_value(json!({
            "matchLabels": {"org": "empire"},
            "matchExpressions": [
                {"key": "class", "operator": "NotIn", "values": ["deathstar"]},
                {"key": "tier", "operator": "Exists"},
            ],
        }))
        .unwrap();
        let converted = serde_json::to_value(meta::LabelSelector::from(selector.clone())).unwrap();
        assert_eq!(converted, serde_json::to_value(&selector).unwrap());
        assert!(!selector.is_empty());
        assert_eq!(meta::LabelSelector::from(LabelSelector::default()), meta::LabelSelector::default());
    }
}
