//! JSON values that came without their text.

use super::{Entry, Node, Span, Value, scalar};

/// The tree of a value. `serde_json` has bounded its depth.
pub(super) fn node(value: &serde_json::Value) -> Node {
    let written = match value {
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => value.to_string().into(),
        _ => Box::default(),
    };
    let value = match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(n), ..) => Value::Int(n.into()),
            (_, Some(n), _) => Value::Int(n.into()),
            (.., n) => scalar::float(n.unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::String(text.clone()),
        serde_json::Value::Array(items) => Value::Seq(items.iter().map(node).collect()),
        serde_json::Value::Object(members) => Value::Map(
            members
                .iter()
                .map(|(key, value)| Entry { key: key.clone(), key_span: Span::NOWHERE, value: node(value) })
                .collect(),
        ),
    };
    Node { value, span: Span::NOWHERE, written, flow: true }
}
