//! The corpus: policies that are good, that are warned of, and that are wrong in one way each, mostly in ways that the
//! API server takes. The first line of each lists the expected codes, errors and warnings.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

#[path = "common/findings.rs"]
mod common;

use std::{collections::BTreeSet, fs};

use gatewatch_policy::{
    codes::{NOT_PERFORMED, NOT_RUN_HERE},
    diagnostic::{Diagnostic, Severity},
    render::brief,
    schema::Schemas,
    selection::Selection,
    source::parse,
    target::{Target, Version},
};

use self::common::{Reported, all_targets, assessed, corpus, findings_for, findings_of, findings_on};

const MARK: &str = "# expect: ";

/// The codes of the first line, and with them in brackets what this agent does not run yet: `GW211 (GW009)`.
fn expected(text: &str) -> Vec<&str> {
    let line =
        text.lines().next().and_then(|line| line.strip_prefix(MARK)).expect("a first line `# expect: …`");
    line.split_whitespace().filter(|word| *word != "none").collect()
}

/// Whether a finding is what a file is about. What this agent does not run yet is left out if the line has it in
/// brackets, and an action that it does not perform unless the line has it.
fn counts(code: &str, expected: &[&str]) -> bool {
    if code == NOT_RUN_HERE.id {
        return !expected.contains(&"(GW009)");
    }
    code != NOT_PERFORMED.id || expected.contains(&code)
}

/// Errors and warnings.
fn codes(reported: &[Reported], expected: &[&str]) -> Vec<&'static str> {
    let reported = reported.iter().filter(|reported| reported.severity > Severity::Note);
    reported.map(|reported| reported.code).filter(|code| counts(code, expected)).collect()
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
            let reported = findings_of(&text, Schemas::shipped());
            let named: Vec<&str> = expected.iter().copied().filter(|word| !word.starts_with('(')).collect();
            if codes(&reported, &expected) != named {
                wrong.push(format!("{name}: expected {expected:?}, found {reported:#?}"));
            }
            let worst = reported.iter().filter(|reported| counts(reported.code, &expected));
            let worst = worst.map(|reported| reported.severity).max().unwrap_or(Severity::Note);
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

/// Two findings with one code are about two places.
#[test]
fn nothing_is_said_twice() {
    for file in ["good", "warn", "bad"].iter().flat_map(|folder| corpus(folder)) {
        for document in parse(&fs::read_to_string(&file).unwrap()) {
            let mut seen = BTreeSet::new();
            for finding in findings_on(&all_targets(), &document, Schemas::shipped()) {
                let place = (finding.diagnostic.code.id, finding.diagnostic.path.to_string());
                assert!(seen.insert(place), "{}: {} is said twice", file.display(), finding.diagnostic);
            }
        }
    }
}

/// Each finding is about one of the programs, or about both; and no program hears of what is about the other alone.
#[test]
fn what_is_said_is_about_one_program_or_both() {
    let [gatewatch, tetragon] =
        [Target::Gatewatch, Target::Tetragon(Version::NEWEST)].map(|target| Selection::of(&[target]));
    let codes = |selection: &Selection, text: &str| -> BTreeSet<&'static str> {
        findings_for(selection, text, Schemas::shipped()).iter().map(|reported| reported.code).collect()
    };
    let (mut only_ours, mut only_theirs) = (BTreeSet::new(), BTreeSet::new());
    for file in ["good", "warn", "bad"].iter().flat_map(|folder| corpus(folder)) {
        let text = fs::read_to_string(&file).unwrap();
        let (ours, theirs) = (codes(&gatewatch, &text), codes(&tetragon, &text));
        let both: BTreeSet<_> = ours.union(&theirs).copied().filter(|code| *code != "GW018").collect();
        assert_eq!(both, codes(&all_targets(), &text), "{}", file.display());
        only_ours.extend(ours.difference(&theirs).copied());
        only_theirs.extend(theirs.difference(&ours).copied());
        // Without a choice, what is about Tetragon alone is there, and stops nothing.
        for reported in findings_for(&Selection::default(), &text, Schemas::shipped()) {
            assert!(
                both.contains(reported.code) || reported.code == "GW018",
                "{}: {reported:?}",
                file.display()
            );
            let stops = reported.severity == Severity::Error && !ours.contains(reported.code);
            assert!(!stops, "{}: {reported:?}", file.display());
        }
    }
    assert!(only_ours.contains("GW009") && only_ours.contains("GW402"), "{only_ours:?}");
    for code in ["GW011", "GW312", "GW314", "GW405", "GW406", "GW410", "GW502", "GW503"] {
        assert!(only_theirs.contains(code), "{code} is not in {only_theirs:?}");
    }
}

/// Message and help are shown beside each other.
#[test]
fn a_suggestion_is_made_once() {
    let mut seen = 0;
    for file in ["good", "warn", "bad"].iter().flat_map(|folder| corpus(folder)) {
        for document in parse(&fs::read_to_string(&file).unwrap()) {
            for found in findings_on(&all_targets(), &document, Schemas::shipped()) {
                let Diagnostic { message, help: Some(help), fix: Some(_), .. } = &found.diagnostic else {
                    continue;
                };
                seen += 1;
                assert!(!message.contains("did you mean"), "{}: {message}; {help}", file.display());
            }
        }
    }
    assert!(seen > 20, "{seen} findings with a fix");
}

/// The nodes of a user of Gatewatch load what Tetragon alone rejects.
#[test]
fn what_is_about_tetragon_alone_says_nothing_of_every_node() {
    for file in ["good", "warn", "bad"].iter().flat_map(|folder| corpus(folder)) {
        for document in parse(&fs::read_to_string(&file).unwrap()) {
            let findings = assessed(&document).findings.into_iter().map(|finding| finding.diagnostic);
            for finding in findings.filter(|finding| !finding.targets.contain(Target::Gatewatch)) {
                assert!(!finding.message.contains("every node rejects"), "{}: {finding}", file.display());
            }
        }
    }
}

/// What kubectl prints of each finding.
#[test]
fn every_finding_fits_into_one_warning() {
    let mut seen = 0;
    for file in ["good", "warn", "bad"].iter().flat_map(|folder| corpus(folder)) {
        for document in parse(&fs::read_to_string(&file).unwrap()) {
            for finding in assessed(&document).findings {
                let warning = brief::render(&finding.diagnostic);
                assert!(warning.chars().count() <= 120, "{warning}");
                assert!(warning.starts_with(finding.diagnostic.code.id), "{warning}");
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "{seen} findings");
}

#[test]
fn there_are_enough_kinds_of_mistakes() {
    assert!(corpus("bad").len() >= 55);
    assert!(corpus("warn").len() >= 15);
    assert!(corpus("good").len() >= 8);
}

/// Our own rules reject everything that the API server's schema rejects, with better messages.
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
            let reported = findings_of(&text, Schemas::shipped());
            assert!(
                reported.iter().any(|reported| reported.severity == Severity::Error),
                "{}",
                file.display()
            );
            assert!(
                reported.iter().all(|reported| reported.code != "GW018"),
                "{}: {reported:?}",
                file.display()
            );
        }
    }
    assert!(refused >= 8, "{refused} of the corpus are rejected by the schema");
}
