//! What is said of each kind of error.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

fn explained(schema: &Value, value: &Value) -> Vec<(String, String, String)> {
    let validator = jsonschema::draft202012::new(schema).unwrap();
    let found = validator.iter_errors(value).flat_map(|error| explain(&error));
    found.map(|found| (found.pointer, found.problem, found.fix)).collect()
}

/// Schemas and values, and what is said of them: where, the problem and the fix.
type Case = (Value, Value, [&'static str; 3]);

fn cases() -> Vec<Case> {
    [values(), sizes(), combinations()].concat()
}

fn values() -> Vec<Case> {
    vec![
        (
            json!({"type": "string"}),
            json!(5),
            ["", "expected a string, found an integer (5)", "put it in quotes"],
        ),
        (
            json!({"type": "integer"}),
            json!("5"),
            ["", "expected an integer, found a string (\"5\")", "remove the quotes"],
        ),
        (
            json!({"type": "integer"}),
            json!("x"),
            ["", "expected an integer, found a string (\"x\")", "write an integer"],
        ),
        (
            json!({"type": "array"}),
            json!({}),
            ["", "expected a list, found an object", "write it as an entry of a list"],
        ),
        (
            json!({"type": ["integer", "string"]}),
            json!(true),
            ["", "expected an integer or a string, found a boolean (true)", "put it in quotes"],
        ),
        (json!({"required": ["call"]}), json!({}), ["", "missing required field `call`", "add `call`"]),
        (
            json!({"properties": {"a": {"enum": ["Equal", "NotEqual"]}}}),
            json!({"a": "Equals"}),
            ["/a", "invalid value \"Equals\": expected one of `Equal`, `NotEqual`", "write `Equal`"],
        ),
        (json!({"const": 1}), json!(2), ["", "invalid value 2: expected `1`", "write `1`"]),
        (
            json!({"pattern": "^[a-z]+$"}),
            json!("A"),
            [
                "",
                "invalid value \"A\": expected text that matches the pattern `^[a-z]+$`",
                "write a value that matches the pattern",
            ],
        ),
    ]
}

fn sizes() -> Vec<Case> {
    vec![
        (json!({"maximum": 3}), json!(4), ["", "4 is too large: expected at most 3", "write at most 3"]),
        (json!({"minimum": 3}), json!(2), ["", "2 is too small: expected at least 3", "write at least 3"]),
        (
            json!({"exclusiveMaximum": 3}),
            json!(3),
            ["", "3 is too large: expected less than 3", "write less than 3"],
        ),
        (
            json!({"exclusiveMinimum": 3}),
            json!(3),
            ["", "3 is too small: expected more than 3", "write more than 3"],
        ),
        (
            json!({"multipleOf": 4}),
            json!(6),
            ["", "expected a multiple of 4, found 6", "write a multiple of 4"],
        ),
        (
            json!({"maxLength": 1}),
            json!("äö"),
            ["", "2 characters, expected at most 1 character", "keep at most 1 character"],
        ),
        (
            json!({"minLength": 1}),
            json!(""),
            ["", "0 characters, expected at least 1 character", "write at least 1 character"],
        ),
        (
            json!({"items": {"maxItems": 1}}),
            json!([[1, 2]]),
            ["/0", "2 entries, expected at most 1 entry", "keep at most 1 entry"],
        ),
        (
            json!({"minItems": 1}),
            json!([]),
            ["", "0 entries, expected at least 1 entry", "write at least 1 entry"],
        ),
        (
            json!({"maxProperties": 1}),
            json!({"a": 1, "b": 2}),
            ["", "2 fields, expected at most 1 field", "keep at most 1 field"],
        ),
        (
            json!({"minProperties": 1}),
            json!({}),
            ["", "0 fields, expected at least 1 field", "write at least 1 field"],
        ),
        (
            json!({"uniqueItems": true}),
            json!([1, 1]),
            ["", "the list has equal entries", "remove the repeated ones"],
        ),
        (
            json!({"properties": {"a": {}}, "additionalProperties": false}),
            json!({"b": 1}),
            ["", "unknown field `b`", "correct the spelling, or remove it"],
        ),
    ]
}

fn combinations() -> Vec<Case> {
    let nullable =
        json!({"properties": {"a": {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 1}]}}});
    vec![
        (
            nullable.clone(),
            json!({"a": "bc"}),
            ["/a", "2 characters, expected at most 1 character", "keep at most 1 character"],
        ),
        (nullable, json!({"a": 1}), ["/a", "expected a string, found an integer (1)", "put it in quotes"]),
        (
            json!({"anyOf": [{"type": "string"}, {"minimum": 5}]}),
            json!(1),
            [
                "",
                "the value has none of the allowed forms: expected a string, found an integer (1); or 1 is too \
                 small: expected at least 5",
                "write one of these forms",
            ],
        ),
        (
            json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({}),
            [
                "",
                "the value has none of the allowed forms: missing required field `a`; or missing required field `b`",
                "write one of these forms",
            ],
        ),
        (
            json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({"a": 1, "b": 1}),
            [
                "",
                "the object has several of the forms that exclude each other",
                "remove the fields of all forms but one",
            ],
        ),
        (
            json!({"not": {"type": "string"}}),
            json!("a"),
            ["", "\"a\" is excluded by the schema", "remove it, or write another value"],
        ),
        (
            json!({"properties": {"a": false}}),
            json!({"a": 1}),
            ["/a", "1 is excluded by the schema", "remove it, or write another value"],
        ),
        (
            json!({"contains": {"type": "string"}}),
            json!([1]),
            [
                "",
                "the list does not satisfy the schema's keyword `contains`",
                "compare the value with the CustomResourceDefinition",
            ],
        ),
    ]
}

#[test]
fn each_kind_says_what_is_wrong_and_what_to_do() {
    for (schema, value, [pointer, problem, fix]) in cases() {
        let expected = (pointer.to_owned(), problem.to_owned(), fix.to_owned());
        assert_eq!(explained(&schema, &value), [expected], "{schema} {value}");
    }
}

/// Every schema of the cases with every value, alone and in a field.
#[test]
fn no_text_of_the_library_is_shown() {
    let cases = cases();
    let mut kinds = BTreeSet::new();
    for (schema, ..) in &cases {
        let validator = jsonschema::draft202012::new(&json!({"properties": {"field": schema}})).unwrap();
        for (_, value, _) in &cases {
            let object = json!({"field": value});
            for error in validator.iter_errors(&object) {
                let library = error.to_string();
                kinds.insert(error.kind().keyword().to_owned());
                for Explanation { problem, fix, .. } in explain(&error) {
                    assert!(!problem.contains(&library) && !fix.contains(&library), "{problem}; {fix}");
                    for theirs in
                        ["is not of type", "is a required property", "listed in the", "is not valid under"]
                    {
                        assert!(!problem.contains(theirs) && !fix.contains(theirs), "{problem}; {fix}");
                    }
                    assert!(!problem.is_empty() && !problem.ends_with('.') && !fix.is_empty());
                }
            }
        }
    }
    assert!(kinds.len() >= 20, "{kinds:?}");
}

#[test]
fn long_values_are_cut() {
    let found = explained(&json!({"enum": ["a"]}), &json!("x".repeat(100)));
    assert_eq!(found[0].1, format!("invalid value \"{}…\": expected `a`", "x".repeat(40)));
}
