//! Every code has a page, every page a code, and the examples on it are true.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use std::path::Path;

use gatewatch_policy::{
    codes::{self, ALL},
    diagnostic::Severity,
    dropped,
    pages::{self, Example, SECTIONS},
    schema::Schemas,
    source::parse,
};

use self::common::{Said, say};

/// What is said of an example; `None` where it takes more than this crate to say it.
fn said(example: &Example<'_>) -> Option<Vec<Said>> {
    if example.has("workloads") {
        return None;
    }
    let schemas = match example.of("definition").next() {
        Some(text) => &Schemas::from_definitions(text).unwrap(),
        None => Schemas::shipped(),
    };
    let mut all = Vec::new();
    for text in example.of("policy") {
        all.extend(say(text, schemas));
        if let Some(written) = example.of("applied").next() {
            let [written, object] = [written, text].map(|text| parse(text)[0].root.to_json());
            all.extend(dropped::check(&written.to_string(), &object).iter().map(Said::of));
        }
    }
    Some(all)
}

#[test]
fn every_page_has_a_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/codes");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let codes: Vec<String> = ALL.iter().map(|code| format!("{}.md", code.id)).collect();
    assert_eq!(names, codes);
    assert_eq!(codes::page("gw303"), Some(codes::UNDECLARED_ARG.page));
    assert_eq!(codes::page("GW000"), None);
}

#[test]
fn pages_have_their_form() {
    for code in ALL {
        let page = pages::parse(code.page).unwrap_or_else(|| panic!("{}: no title", code.id));
        assert_eq!((page.id, page.title), (code.id, code.title));
        assert_eq!(page.sections, SECTIONS, "{}", code.id);
        assert!(page.bad.has("policy") || page.bad.has("workloads"), "{}: no bad example", code.id);
        assert!(
            page.corrected.has("policy") || page.corrected.has("workloads"),
            "{}: nothing corrected",
            code.id
        );
    }
}

#[test]
fn examples_are_what_they_say_they_are() {
    let mut wrong = Vec::new();
    for code in ALL {
        let page = pages::parse(code.page).unwrap();
        let (Some(bad), Some(corrected)) = (said(&page.bad), said(&page.corrected)) else { continue };
        // What this agent doesn't run is an example all the same, but on the page that is about it.
        let other_error = |said: &&Said| {
            said.severity == Severity::Error
                && said.code != code.id
                && (said.code != "GW009" || code.id == "GW009")
        };
        if !bad.iter().any(|said| said.code == code.id) {
            wrong.push(format!("{}: the bad example doesn't give it, but {bad:?}", code.id));
        }
        wrong.extend(bad.iter().find(other_error).map(|said| format!("{}: bad example: {said:?}", code.id)));
        let unclean =
            |said: &&Said| said.code == code.id || (said.severity > Severity::Note && said.code != "GW009");
        wrong.extend(corrected.iter().find(unclean).map(|said| format!("{}: corrected: {said:?}", code.id)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
