//! For code scanning: one document in SARIF 2.1.0 (OASIS), as GitHub, GitLab and editors read it.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Map, Value, json};

use super::File;
use crate::{codes::Code, diagnostic::Severity, source::Located};

/// Findings of many files, put together.
#[derive(Clone, Debug, Default)]
pub struct Report {
    rules: BTreeMap<&'static str, &'static Code>,
    results: Vec<Value>,
}

impl Report {
    /// Without findings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a finding.
    pub fn add(&mut self, file: &File<'_>, finding: &Located) {
        let diagnostic = &finding.diagnostic;
        self.rules.insert(diagnostic.code.id, diagnostic.code);
        let mut physical = Map::new();
        physical.insert("artifactLocation".to_owned(), json!({ "uri": uri(file.name) }));
        if let Some((start, end)) = file.range(finding) {
            let region = json!({
                "startLine": start.line,
                "startColumn": start.column,
                "endLine": end.line,
                "endColumn": end.column,
            });
            physical.insert("region".to_owned(), region);
        }
        let text: Vec<&str> =
            [Some(diagnostic.message.as_str()), diagnostic.label.as_deref(), diagnostic.help.as_deref()]
                .into_iter()
                .flatten()
                .collect();
        let location = json!({
            "physicalLocation": physical,
            "logicalLocations": [{ "fullyQualifiedName": diagnostic.path.to_string() }],
        });
        self.results.push(json!({
            "ruleId": diagnostic.code.id,
            "level": level(diagnostic.severity),
            "message": { "text": text.join("; ") },
            "locations": [location],
            "properties": { "targets": diagnostic.targets.names() },
        }));
    }

    /// The document. `version` is the program's.
    pub fn render(self, version: &str) -> String {
        let rules: Vec<Value> = self
            .rules
            .values()
            .map(|code| {
                json!({
                    "id": code.id,
                    "shortDescription": { "text": code.title },
                    "defaultConfiguration": { "level": level(code.severity) },
                })
            })
            .collect();
        let driver = json!({ "name": "gatewatch", "version": version, "rules": rules });
        let document = json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": driver },
                "columnKind": "unicodeCodePoints",
                "results": self.results,
            }],
        });
        // Strings and numbers alone: nothing in it can fail.
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// A file's name as a relative reference (RFC 3986): all characters that are not allowed there are escaped.
fn uri(name: &str) -> String {
    let mut uri = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}
