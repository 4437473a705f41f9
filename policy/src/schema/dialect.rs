//! Kubernetes' dialect of schemas as JSON Schema.

use serde_json::{Map, Value, json};

/// The schema of an object of a kind.
pub(super) fn object(schema: &Value) -> Value {
    let mut schema = translated(schema);
    // The API server knows these itself, whatever the definition says of them.
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (field, of) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
            properties.insert(field.to_owned(), json!({"type": of}));
        }
    }
    schema
}

/// Defaults are filled in before the schema is applied, so a field with one is never missing; unknown fields were
/// dropped by then; `nullable`, `int-or-string` and the formats of integers are keywords that bind.
fn translated(schema: &Value) -> Value {
    let Value::Object(schema) = schema else { return schema.clone() };
    let mut out = Map::new();
    for (keyword, value) in schema {
        let value = match keyword.as_str() {
            "properties" => members(value),
            "items" | "additionalProperties" | "not" => translated(value),
            "allOf" | "anyOf" | "oneOf" => {
                value.as_array().map_or(Value::Null, |all| all.iter().map(translated).collect())
            }
            "format" => {
                if let Some((minimum, maximum)) = bounds(value) {
                    out.entry("minimum").or_insert(minimum.into());
                    out.entry("maximum").or_insert(maximum.into());
                }
                continue;
            }
            "minimum" | "maximum" => {
                out.insert(keyword.clone(), value.clone());
                continue;
            }
            // Texts, and what the API server alone makes use of.
            "nullable" | "default" | "description" | "example" | "title" => continue,
            other if other.starts_with("x-kubernetes-") => continue,
            _ => value.clone(),
        };
        out.insert(keyword.clone(), value);
    }
    without_defaulted(schema, &mut out);
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        out.insert("type".to_owned(), json!(["integer", "string"]));
    }
    if schema.get("nullable") == Some(&Value::Bool(true)) {
        return json!({"anyOf": [{"type": "null"}, out]});
    }
    Value::Object(out)
}

fn members(properties: &Value) -> Value {
    let members = properties.as_object().into_iter().flatten();
    Value::Object(members.map(|(name, schema)| (name.clone(), translated(schema))).collect())
}

/// A required field that has a default is there whatever was written.
fn without_defaulted(schema: &Map<String, Value>, out: &mut Map<String, Value>) {
    let defaulted = |name: &Value| {
        let property = schema.get("properties").and_then(|all| all.get(name.as_str()?));
        property.and_then(|property| property.get("default")).is_some()
    };
    if let Some(Value::Array(required)) = out.get_mut("required") {
        required.retain(|name| !defaulted(name));
    }
}

fn bounds(format: &Value) -> Option<(i64, i64)> {
    match format.as_str()? {
        "int32" => Some((i32::MIN.into(), i32::MAX.into())),
        "int64" => Some((i64::MIN, i64::MAX)),
        _ => None,
    }
}
