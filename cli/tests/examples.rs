//! The examples on the pages of diagnostics that are about policies and workloads together: the bad one gives the code,
//! the corrected one neither the code nor an error or warning.
//!
//! Beside `policy` and `workloads` such an example may have a block `before`: what one of the objects was.
#![allow(clippy::expect_used, reason = "helpers of tests are not tests to clippy")]

use gatewatch_coverage::{Index, IndexedPolicy, Workload, read, templates::Templates};
use gatewatch_policy::{
    assess::Checked,
    codes::ALL,
    diagnostic::{Diagnostic, Severity},
    pages::{self, Example},
    source::parse,
};

#[derive(Default)]
struct Objects {
    policies: Vec<IndexedPolicy>,
    workloads: Vec<Workload>,
}

fn objects(texts: &[&str], index: &mut Index) -> Objects {
    let mut found = Objects::default();
    for document in texts.iter().flat_map(|text| parse(text)) {
        if let Some((name, annotations)) = read::namespace(&document.root) {
            index.apply_namespace(&name, &annotations);
        }
        found.workloads.extend(
            read::workload(&document.root, "default", &Templates::default()).map(|(workload, _)| workload),
        );
        found
            .policies
            .extend(Checked::of(&document).map(|checked| IndexedPolicy::new(&checked.policy, "default")));
    }
    found
}

/// All diagnostics of an example.
fn said(example: &Example<'_>) -> Vec<Diagnostic> {
    let mut index = Index::new();
    let texts = |kinds: &[&str]| -> Vec<&str> { kinds.iter().flat_map(|kind| example.of(kind)).collect() };
    let now = objects(&texts(&["policy", "workloads"]), &mut index);
    let before = objects(&texts(&["before"]), &mut index);
    for workload in &now.workloads {
        index.apply_workload(workload);
    }
    index.reset_policies(now.policies.iter().cloned());
    let mut all = Vec::new();
    for policy in &now.policies {
        all.extend(index.on_policy(policy));
        let was = before.policies.iter().find(|was| was.id == policy.id);
        all.extend(was.map(|was| index.on_policy_change(was, Some(policy))).unwrap_or_default());
    }
    for workload in &now.workloads {
        all.extend(index.on_workload(workload));
        let was = before.workloads.iter().find(|was| was.name == workload.name);
        all.extend(was.map(|was| index.on_relabel(&was.shape, workload)).unwrap_or_default());
    }
    all
}

#[test]
fn examples_are_what_they_say_they_are() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for code in ALL {
        let page = pages::parse(code.page).expect("a page");
        if !page.bad.has("workloads") {
            continue;
        }
        seen += 1;
        let (bad, corrected) = (said(&page.bad), said(&page.corrected));
        if !bad.iter().any(|d| d.code.id == code.id) {
            wrong.push(format!("{}: the bad example doesn't give it, but {bad:?}", code.id));
        }
        let other = |d: &&Diagnostic| d.is_error() && d.code.id != code.id;
        wrong.extend(bad.iter().find(other).map(|d| format!("{}: bad example: {d}", code.id)));
        let unclean = |d: &&Diagnostic| d.code.id == code.id || d.severity > Severity::Note;
        wrong.extend(corrected.iter().find(unclean).map(|d| format!("{}: corrected: {d}", code.id)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 12, "only {seen} pages have workloads");
}
