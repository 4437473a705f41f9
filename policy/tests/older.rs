//! Policies of earlier versions of Tetragon: Gatewatch runs them with the meaning that they had, or says what it ignores. For
//! a version of Tetragon that no longer has a part, a finding names the version.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "common/findings.rs"]
mod common;

use std::{fs, path::Path};

use gatewatch_kernel::Profile;
use gatewatch_policy::{
    assess::{Against, Assessment, Kernel, assess},
    compile::Environment,
    diagnostic::Severity,
    schema::Schemas,
    selection::Selection,
    source::parse,
    target::{Target, Version},
};

use self::common::host_namespaces;

/// A policy of an earlier version.
struct Case {
    /// A file of the corpus.
    file: &'static str,
    /// What to replace in it today, and by what.
    edits: &'static [(&'static str, &'static str)],
    /// What Gatewatch's warning says about the version.
    warning: &'static str,
    /// The first minor version of Tetragon that does not run it.
    first: u8,
}

const CASES: [Case; 5] = [
    Case {
        file: "older-enforcer",
        edits: &[
            ("killers", "enforcers"),
            ("syscalls: [\"list", "calls: [\"list"),
            ("NotifyKiller", "NotifyEnforcer"),
        ],
        warning: "its name since Tetragon 1.1",
        first: 1,
    },
    Case {
        file: "older-stack-trace",
        edits: &[("stackTrace", "kernelStackTrace")],
        warning: "its name since Tetragon 1.1",
        first: 1,
    },
    Case {
        file: "older-uprobe",
        edits: &[("symbol: readline", "symbols: [readline]")],
        warning: "its name since Tetragon 1.1",
        first: 1,
    },
    Case {
        file: "older-descriptors",
        edits: &[("{action: FollowFD, argFd: 0, argName: 1}", "{action: Post}")],
        warning: "Tetragon 1.7 was the last version",
        first: 8,
    },
    Case {
        file: "older-return-action",
        edits: &[("    returnArgAction: Post\n", "")],
        warning: "as by Tetragon up to 1.6",
        first: 7,
    },
];

fn text(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/bad");
    fs::read_to_string(folder.join(format!("{file}.yaml"))).unwrap()
}

fn assessed(text: &str, target: Target, schemas: Option<&Schemas>) -> Assessment {
    let (kernel, host_namespaces) = (Profile::shipped("6.12").unwrap(), host_namespaces());
    let environment = Environment { kernel: &kernel, host_namespaces: &host_namespaces };
    let kernels = [Kernel { name: "6.12", environment, nodes: None }];
    let selection = Selection::of(&[target]);
    assess(&parse(text)[0], &Against { schemas, kernels: &kernels, ..Against::new(&selection) })
}

/// Code and text of the errors.
fn errors(assessment: &Assessment) -> Vec<(&'static str, String)> {
    let errors = assessment.findings.iter().map(|found| &found.diagnostic).filter(|d| d.is_error());
    errors.map(|error| (error.code.id, error.to_string())).collect()
}

#[test]
fn the_agent_runs_them_as_what_they_meant() {
    for Case { file, edits, warning: version, .. } in CASES {
        let older = text(file);
        let today = edits.iter().fold(older.clone(), |text, (from, to)| {
            assert!(text.contains(from), "{file}: {from}");
            text.replace(from, to)
        });
        let runs = assessed(&older, Target::Gatewatch, Some(Schemas::shipped()));
        let expected = assessed(&today, Target::Gatewatch, Some(Schemas::shipped()));
        assert_eq!(errors(&runs), [], "{file}");
        assert!(runs.plans[0].is_some(), "{file}");
        assert_eq!(runs.plans, expected.plans, "{file}");
        let (runs_as, expected) = (runs.policy.unwrap().spec, expected.policy.unwrap().spec);
        assert_eq!(runs_as.uprobes, expected.uprobes, "{file}");
        assert_eq!(runs_as.enforcers, expected.enforcers, "{file}");
        let warnings = runs.findings.iter().map(|found| &found.diagnostic);
        let mut warnings = warnings.filter(|d| d.severity == Severity::Warning);
        assert!(warnings.any(|warning| warning.message.contains(version)), "{file}: {:?}", runs.findings);
    }
}

#[test]
fn tetragon_does_not_run_them_from_some_version_on() {
    for Case { file, first, .. } in CASES {
        for minor in 1..=8 {
            let target = Target::Tetragon(Version::new(1, minor));
            let found = errors(&assessed(&text(file), target, None));
            assert_eq!(!found.is_empty(), minor >= first, "{file} in 1.{minor}: {found:?}");
            // Removed after the version before, or renamed or rejected in this one.
            let versions = [format!("Tetragon 1.{first}"), format!("after Tetragon 1.{}", first - 1)];
            let named = |(_, text): &(_, String)| versions.iter().any(|version| text.contains(version));
            assert!(found.iter().all(named), "{file} in 1.{minor}: {found:?}");
        }
    }
}

/// Findings are about what is written, so that an editor can show them.
#[test]
fn findings_have_their_place_in_the_text() {
    for Case { file, .. } in CASES {
        let text = text(file);
        for found in assessed(&text, Target::Gatewatch, None).findings {
            let at = found.span.unwrap_or_else(|| panic!("{file}: {}", found.diagnostic));
            let last = found.diagnostic.path.to_string();
            let last = last.rsplit(['.', '[']).next().unwrap_or_default().trim_end_matches(']');
            let is_index = last.parse::<usize>().is_ok();
            assert!(is_index || text.contains(last), "{file}: {}", found.diagnostic);
            assert!(!text[at.range()].is_empty(), "{file}: {}", found.diagnostic);
        }
    }
}

/// The definitions of a cluster decide what its API server takes.
#[test]
fn a_definition_that_the_user_names_still_rejects_them() {
    let shipped = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/manifests/cilium.io_tracingpolicies.yaml"),
    );
    let schemas = Schemas::from_definitions(&shipped.unwrap()).unwrap();
    for file in ["older-enforcer", "older-descriptors"] {
        let found = errors(&assessed(&text(file), Target::Gatewatch, Some(&schemas)));
        assert_eq!(found.iter().map(|(code, _)| *code).collect::<Vec<_>>(), ["GW018"], "{file}: {found:?}");
    }
}
