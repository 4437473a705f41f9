//! The pages about records say what the code does.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not tests to clippy")]

use std::{fs, path::Path};

use gatewatch_events::{Kind, argument::KEYS, redaction::PATTERNS};
use serde_json::Value;

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)).unwrap()
}

#[test]
fn the_page_lists_the_patterns_of_secrets() {
    let page = page("export.md");
    let (_, rest) = page.split_once("| what | example | exported |\n|---|---|---|\n").unwrap();
    let (table, _) = rest.split_once("\n\n").unwrap();
    let row = |what: &str, (from, to): (&str, &str)| {
        format!("| {what} | `{}` | `{}` |", from.replace('\n', "⏎"), to.replace('\n', "⏎"))
    };
    let expected: Vec<String> = PATTERNS.iter().map(|pattern| row(pattern.what, pattern.example)).collect();
    assert_eq!(table.lines().collect::<Vec<_>>(), expected);
}

/// The first cells of all tables of a page.
fn first_cells(page: &str) -> String {
    page.lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_page_has_every_field_of_the_schema() {
    let page = page("event-format.md");
    let cells = first_cells(&page);
    let schema: Value = serde_json::from_str(&self::page("schema/events.schema.json")).unwrap();
    let fields = |of: &Value| of["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let rare = ["process_throttle", "rate_limit_info", "refcnt"];
    for field in fields(&schema).iter().chain(&fields(&schema["$defs"]["Process"])) {
        let place = if rare.contains(&field.as_str()) { &page } else { &cells };
        assert!(place.contains(&format!("`{field}`")), "docs/event-format.md lacks {field}");
    }
    for body in ["Kprobe", "Tracepoint", "Lsm", "Uprobe", "Usdt", "Loader", "Exit", "Exec"] {
        for field in fields(&schema["$defs"][format!("Process{body}")]) {
            // Nothing sets it.
            if (body, field.as_str()) == ("Usdt", "flags") {
                continue;
            }
            assert!(page.contains(&format!("`{field}`")), "docs/event-format.md lacks {field} of {body}");
        }
    }
    let incomplete = &schema["$defs"]["ProcessExec"]["properties"]["incomplete"]["items"]["enum"];
    for value in incomplete.as_array().unwrap() {
        assert!(
            cells.contains(&format!("`{}`", value.as_str().unwrap())),
            "docs/event-format.md lacks {value}"
        );
    }
    for key in KEYS {
        assert!(page.contains(&format!("`{key}`")), "docs/event-format.md lacks {key}");
    }
}

#[test]
fn the_page_lists_the_fields_of_filters() {
    let page = page("export.md");
    let cells = first_cells(&page);
    for field in gatewatch_events::filter::FIELDS {
        assert!(cells.contains(&format!("`{field}`")), "docs/export.md lacks {field}");
    }
    for kind in [
        Kind::Exec,
        Kind::Exit,
        Kind::Kprobe,
        Kind::Tracepoint,
        Kind::Lsm,
        Kind::Uprobe,
        Kind::Usdt,
        Kind::Loader,
    ] {
        assert!(page.contains(&format!("`{}`", kind.name())), "docs/export.md lacks {}", kind.name());
    }
}
