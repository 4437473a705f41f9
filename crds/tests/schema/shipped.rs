//! The shipped policies are admitted, and lose nothing when they are read and written.

use std::{
    fs,
    path::{Path, PathBuf},
};

use gatewatch_crds::{TracingPolicy, TracingPolicyNamespaced};
use serde_json::Value;

use crate::dialect::refusals;

fn policy_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let mut folders = vec![root];
    let mut files = vec![];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path);
            }
        }
    }
    files
}

#[test]
fn shipped_policies_are_admitted_and_read() {
    let mut seen = 0;
    for file in policy_files() {
        let text = fs::read_to_string(&file).unwrap();
        for object in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
            let kind = object["kind"].as_str().unwrap().to_owned();
            assert_eq!(refusals(&kind, &object), Vec::<String>::new(), "{}", file.display());
            let written = match kind.as_str() {
                "TracingPolicy" => {
                    let policy: TracingPolicy = serde_json::from_value(object.clone()).unwrap();
                    serde_json::to_value(policy)
                }
                "TracingPolicyNamespaced" => {
                    let policy: TracingPolicyNamespaced = serde_json::from_value(object.clone()).unwrap();
                    serde_json::to_value(policy)
                }
                other => panic!("{}: no policy, but {other}", file.display()),
            }
            .unwrap();
            assert_contains(&written, &object, &file);
            seen += 1;
        }
    }
    assert!(seen >= 6, "only {seen} policies under policies/");
}

/// Whatever was read is written; what is written beyond it are defaults.
fn assert_contains(written: &Value, read: &Value, file: &Path) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (field, value) in read {
                let written =
                    written.get(field).unwrap_or_else(|| panic!("{}: {field} was lost", file.display()));
                assert_contains(written, value, file);
            }
        }
        (Value::Array(written), Value::Array(read)) => {
            assert_eq!(written.len(), read.len(), "{}", file.display());
            written.iter().zip(read).for_each(|(written, read)| assert_contains(written, read, file));
        }
        _ => assert_eq!(written, read, "{}", file.display()),
    }
}
