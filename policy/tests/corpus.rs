//! The corpus: policies that are good, that are warned of, and that are wrong in one way each, mostly in ways that the
//! API server takes. The first line of each says which codes are said of it, errors and warnings.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use std::fs;

use common::{Said, corpus, say};
use gatewatch_policy::diagnostic::Severity;
use gatewatch_policy::schema::Schemas;
use gatewatch_policy::source::parse;

const MARK: &str = "# expect: ";

fn expected(text: &str) -> Vec<&str> {
    let line =
        text.lines().next().and_then(|line| line.strip_prefix(MARK)).expect("a first line `# expect: …`");
    line.split_whitespace().filter(|word| *word != "none").collect()
}

/// Errors and warnings. What this agent doesn't run yet counts where it was expected only.
fn codes(said: &[Said], expected: &[&str]) -> Vec<&'static str> {
    let said = said.iter().filter(|said| said.severity > Severity::Note);
    let mut codes: Vec<&str> = said.map(|said| said.code).collect();
    codes.dedup();
    codes.retain(|code| *code != "GW009" || expected.contains(code));
    codes
}

#[test]
fn every_file_gives_what_it_says() {
    let mut wrong = Vec::new();
    for folder in ["good", "warn", "bad"] {
        for file in corpus(folder) {
            let text = fs::read_to_string(&file).unwrap();
            let name =
                file.strip_prefix(file.parent().unwrap().parent().unwrap()).unwrap().display().to_string();
            let expected = expected(&text);
            let said = say(&text, Schemas::shipped());
            if codes(&said, &expected) != expected {
                wrong.push(format!("{name}: expected {expected:?}, said {said:#?}"));
            }
            let worst = said.iter().filter(|said| said.code != "GW009" || expected.contains(&"GW009"));
            let worst = worst.map(|said| said.severity).max().unwrap_or(Severity::Note);
            let fits = match folder {
                "good" => worst == Severity::Note,
                "warn" => worst == Severity::Warning,
                _ => worst == Severity::Error,
            };
            if !fits {
                wrong.push(format!("{name}: the worst of it is: {worst}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_enough_kinds_of_mistakes() {
    assert!(corpus("bad").len() >= 55);
    assert!(corpus("warn").len() >= 15);
    assert!(corpus("good").len() >= 8);
}

/// What the API server's schema refuses, our own rules refuse too, and say better.
#[test]
fn nothing_is_left_to_the_schema() {
    let mut refused = 0;
    for file in ["good", "warn", "bad"].iter().flat_map(|folder| corpus(folder)) {
        let text = fs::read_to_string(&file).unwrap();
        for document in parse(&text).iter().filter(|document| document.complete) {
            if Schemas::shipped().check(&document.root.to_json()).is_empty() {
                continue;
            }
            refused += 1;
            let said = say(&text, Schemas::shipped());
            assert!(said.iter().any(|said| said.severity == Severity::Error), "{}", file.display());
            assert!(said.iter().all(|said| said.code != "GW018"), "{}: {said:?}", file.display());
        }
    }
    assert!(refused >= 8, "{refused} of the corpus are refused by the schema");
}
