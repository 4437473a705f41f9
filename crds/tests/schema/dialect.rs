//! The schemas of the kinds as a JSON Schema validator reads them.

use gatewatch_crds::manifest;
use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// A validator for the objects of a kind.
pub(crate) fn validator(kind: &str) -> Validator {
    jsonschema::draft202012::new(&translated(kind)).unwrap()
}

/// The places of an object at which the schema rejects it, sorted.
pub(crate) fn refusals(kind: &str, object: &Value) -> Vec<String> {
    let mut places: Vec<String> =
        validator(kind).iter_errors(object).map(|error| error.instance_path().to_string()).collect();
    places.sort();
    places
}

/// The schema of a kind in its definition.
pub(crate) fn schema(kind: &str) -> Value {
    let definition = manifest::definitions().into_iter().find(|d| d.spec.names.kind == kind).unwrap();
    let version = definition.spec.versions.into_iter().next().unwrap();
    serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap()
}

fn translated(kind: &str) -> Value {
    let mut schema = schema(kind);
    translate(schema.as_object_mut().unwrap());
    // The API server checks these itself.
    for (field, of) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
        schema["properties"][field] = json!({"type": of});
    }
    schema
}

/// Kubernetes' dialect to JSON Schema: defaults are filled in before the schema is applied, unknown fields are pruned
/// (rejected here, which is the default of `kubectl`), `nullable` and integer formats are keywords that bind.
fn translate(schema: &mut Map<String, Value>) {
    schema.retain(|keyword, _| !keyword.starts_with("x-kubernetes-"));
    assert!(!schema.contains_key("nullable"), "no field of the kinds may be null: {schema:?}");
    let bounds = match schema.get("format").and_then(Value::as_str) {
        Some("int32") => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
        Some("int64") => Some((i64::MIN, i64::MAX)),
        Some("date-time") | None => None,
        Some(other) => panic!("Kubernetes does not know the format {other}"),
    };
    if let Some((minimum, maximum)) = bounds {
        schema.remove("format");
        schema.entry("minimum").or_insert(minimum.into());
        schema.entry("maximum").or_insert(maximum.into());
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let defaulted: Vec<String> = properties
            .iter()
            .filter(|(_, property)| property.get("default").is_some())
            .map(|(name, _)| name.clone())
            .collect();
        properties.values_mut().for_each(|property| translate(property.as_object_mut().unwrap()));
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.retain(|name| defaulted.iter().all(|defaulted| name != defaulted));
        }
        schema.insert("additionalProperties".into(), false.into());
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(Value::Object(inner)) = schema.get_mut(keyword) {
            translate(inner);
        }
    }
}
