//! The corpus through the command line, for Gatewatch and Tetragon together: what each file says is said of it, and files
//! that are to pass do.
#![allow(clippy::expect_used, reason = "helpers of tests are not tests to clippy")]

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::Value;

/// Codes about files that are read together: some have the same hooks and names.
const TOGETHER: [&str; 3] = ["GW216", "GW217", "GW218"];
/// Actions that this agent does not perform.
const NOT_PERFORMED: &str = "GW509";

#[test]
fn every_file_is_judged_as_it_says() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
    let output = Command::new(env!("CARGO_BIN_EXE_gatewatch"))
        .args(["lint", "--format", "json", "--target", "gatewatch", "--target", "tetragon"])
        .arg(&corpus)
        .output()
        .expect("gatewatch runs");
    assert_eq!(output.status.code(), Some(1));
    let mut said: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let object: Value = serde_json::from_str(line).expect("JSON");
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        said.entry(text("file")).or_default().push((text("code"), text("severity")));
    }
    let (mut wrong, mut files) = (Vec::new(), 0);
    for folder in ["good", "warn", "bad"] {
        for entry in fs::read_dir(corpus.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let text = fs::read_to_string(&path).expect("text");
            let first = text.lines().next().and_then(|line| line.strip_prefix("# expect: "));
            let mut expected: Vec<&str> =
                first.expect("a first line").split_whitespace().filter(|word| *word != "none").collect();
            expected.sort_unstable();
            let said = said.remove(&path.display().to_string()).unwrap_or_default();
            // What this agent does not run yet is in brackets.
            let not_run: Vec<&str> = expected
                .extract_if(.., |word| word.starts_with('('))
                .map(|word| word.trim_matches(['(', ')']))
                .collect();
            let counts = |code: &str| {
                !TOGETHER.contains(&code)
                    && !not_run.contains(&code)
                    && (code != NOT_PERFORMED || expected.contains(&code))
            };
            let found: Vec<&(String, String)> =
                said.iter().filter(|(code, severity)| severity != "note" && counts(code)).collect();
            let worst = |severity: &str| found.iter().any(|(_, of)| of == severity);
            let fits = match folder {
                "good" => found.is_empty(),
                "warn" => worst("warning") && !worst("error"),
                _ => worst("error"),
            };
            let mut codes: Vec<&str> = found.iter().map(|(code, _)| code.as_str()).collect();
            codes.sort_unstable();
            files += 1;
            if !fits || codes != expected {
                wrong.push(format!("{}: expected {expected:?}, found {found:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(files > 80, "only {files} files");
}
