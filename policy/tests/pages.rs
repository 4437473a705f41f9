//! Every code has a page, every page a code, and the examples on it are true.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

#[path = "common/findings.rs"]
mod common;

use std::path::Path;

use gatewatch_policy::{
    codes::{self, ALL},
    diagnostic::Severity,
    dropped,
    pages::{self, Example, SECTIONS},
    same_name::{Names, replaces},
    schema::Schemas,
    source::parse,
};

use self::common::{NOT_YET, Reported, findings_of};

/// The findings on an example; `None` if they need more than this crate.
fn reported(example: &Example<'_>) -> Option<Vec<Reported>> {
    if example.has("workloads") {
        return None;
    }
    let schemas = match example.of("definition").next() {
        Some(text) => &Schemas::from_definitions(text).unwrap(),
        None => Schemas::shipped(),
    };
    let mut all = Vec::new();
    let mut names = Names::default();
    for text in example.of("policy") {
        for document in parse(text) {
            let replaced = names.add(&document.root, "default", ());
            all.extend(replaced.map(|()| Reported::of(&replaces("policy.yaml:1"))));
        }
        all.extend(findings_of(text, schemas));
        if let Some(written) = example.of("applied").next() {
            let [written, object] = [written, text].map(|text| parse(text)[0].root.to_json());
            all.extend(dropped::check(&written.to_string(), &object).iter().map(Reported::of));
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

/// What Gatewatch reads by an older name is an error for every version of Tetragon that has the later name.
const OLDER_NAME: &str = codes::OLDER_NAME.id;
const NOT_IN_VERSION: &str = codes::NOT_IN_VERSION.id;

#[test]
fn examples_are_what_they_say_they_are() {
    let mut wrong = Vec::new();
    for code in ALL {
        let page = pages::parse(code.page).unwrap();
        let (Some(bad), Some(corrected)) = (reported(&page.bad), reported(&page.corrected)) else { continue };
        // What this agent doesn't run is an example all the same, but on the page that is about it.
        let other_error = |reported: &&Reported| {
            reported.severity == Severity::Error
                && reported.code != code.id
                && !(code.id == OLDER_NAME && reported.code == NOT_IN_VERSION)
                && !NOT_YET.contains(&reported.code)
        };
        if !bad.iter().any(|reported| reported.code == code.id) {
            wrong.push(format!("{}: the bad example doesn't give it, but {bad:?}", code.id));
        }
        wrong.extend(
            bad.iter().find(other_error).map(|reported| format!("{}: bad example: {reported:?}", code.id)),
        );
        let unclean = |reported: &&Reported| {
            reported.code == code.id
                || (reported.severity > Severity::Note && !NOT_YET.contains(&reported.code))
        };
        wrong.extend(
            corrected.iter().find(unclean).map(|reported| format!("{}: corrected: {reported:?}", code.id)),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
