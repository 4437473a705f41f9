//! The chart's files: those that are made from others are current, and the schema knows each value.

use std::fs;

use anyhow::Result;
use serde_json::Value;

use super::Tests;
use crate::chart;

pub(super) fn run(tests: &mut Tests) -> Result<()> {
    let folder = chart::folder();
    let mut stale: Vec<String> = chart::generated(&folder)?
        .into_iter()
        .filter(|(path, text)| fs::read_to_string(path).ok().as_ref() != Some(text))
        .map(|(path, _)| format!("{} is not current: `cargo xtask chart` writes it", path.display()))
        .collect();
    let superfluous = chart::superfluous(&folder)?;
    stale.extend(superfluous.iter().map(|path| format!("{} is a copy of nothing", path.display())));
    tests.verdict("generated files are current", &stale);

    let values: Value = serde_saphyr::from_str(&chart::read(&folder.join("values.yaml"))?)?;
    let schema: Value = serde_json::from_str(&chart::read(&folder.join("values.schema.json"))?)?;
    let mut faults = Vec::new();
    compare(&schema, &schema, &values, "", &mut faults);
    tests.verdict("the schema knows each value and no other", &faults);
    Ok(())
}

/// Whether an object's schema names exactly the keys of the values. Schemas that name none leave the keys open.
fn compare(root: &Value, schema: &Value, values: &Value, path: &str, faults: &mut Vec<String>) {
    let schema = resolved(root, schema);
    let (Some(properties), Some(values)) = (schema["properties"].as_object(), values.as_object()) else {
        return;
    };
    for (key, value) in values {
        match properties.get(key) {
            Some(property) => compare(root, property, value, &format!("{path}/{key}"), faults),
            None => faults.push(format!("values.schema.json has no {path}/{key}")),
        }
    }
    // `global` is helm's own, for charts that this one is a part of.
    for key in properties.keys().filter(|key| !values.contains_key(*key) && *key != "global") {
        faults.push(format!("values.yaml has no {path}/{key}"));
    }
    if schema["additionalProperties"] != Value::Bool(false) {
        faults.push(format!("values.schema.json takes any key in {path}: a typing error would be lost"));
    }
}

fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    schema["$ref"].as_str().and_then(|name| root.pointer(name.strip_prefix('#')?)).unwrap_or(schema)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_found_both_ways() {
        let schema = json!({
            "additionalProperties": false,
            "properties": { "a": { "$ref": "#/$defs/a" }, "gone": {} },
            "$defs": { "a": { "properties": { "b": {} } } },
        });
        let mut faults = Vec::new();
        compare(&schema, &schema, &json!({ "a": { "b": 1, "c": 2 }, "new": 1 }), "", &mut faults);
        assert_eq!(faults.len(), 4, "{faults:?}");
    }
}
