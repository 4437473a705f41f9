//! For which program policies are checked, and that the command line reports of each policy of the corpus what every
//! caller of the pipeline does. The agent and the webhook have the same test.
#![allow(clippy::expect_used, reason = "helpers of tests are not tests to clippy")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use gatewatch_kernel::Profile;
use gatewatch_policy::{
    assess::{Against, Kernel, assess},
    compile::Environment,
    model::NamespaceKind,
    schema::Schemas,
    selection::Selection,
    source::parse,
};
use serde_json::Value;

fn gatewatch(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gatewatch")).args(arguments).output().expect("gatewatch runs")
}

/// Each finding of a run with `--format json`.
fn findings(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Code and severity of each finding in a policy, and the exit status.
fn lint(policy: &str, options: &[&str]) -> (Vec<String>, Option<i32>) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("p.yaml");
    fs::write(&file, policy).expect("written");
    let mut arguments = vec!["lint", "--kernel", "6.12", "--format", "json"];
    arguments.extend_from_slice(options);
    arguments.push(file.to_str().expect("text"));
    let output = gatewatch(&arguments);
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let shown = |found: &Value| format!("{} {}", word(&found["code"]), word(&found["severity"]));
    (findings(&output).iter().map(shown).collect(), output.status.code())
}

const HEAD: &str = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec:\n";

#[test]
fn what_is_about_tetragon_alone_is_a_note_unless_it_is_asked_for() {
    let policy = format!("{HEAD}  kprobes: [{{call: sys_setuid, message: a}}]\n");
    assert_eq!(lint(&policy, &[]), (vec!["GW406 note".to_owned()], Some(0)));
    assert_eq!(lint(&policy, &["--target", "gatewatch"]), (vec![], Some(0)));
    for options in [&["--target", "tetragon"][..], &["--target", "gatewatch", "--target", "tetragon=1.4"]] {
        assert_eq!(lint(&policy, options), (vec!["GW406 error".to_owned()], Some(1)));
    }
}

#[test]
fn what_the_agent_does_not_run_is_an_error_for_it_alone() {
    let policy = format!(
        "{HEAD}  usdts: [{{path: /bin/sh, provider: a, name: b, message: ok, selectors: [{{matchPIDs: [{{operator: In, values: [1]}}]}}]}}]\n"
    );
    assert_eq!(lint(&policy, &["--target", "tetragon"]), (vec![], Some(0)));
    assert_eq!(lint(&policy, &[]).1, Some(1));
}

#[test]
fn a_version_of_tetragon_has_what_it_has() {
    let filter = "{index: 0, operator: InRange, values: ['1:5']}";
    let policy = format!(
        "{HEAD}  kprobes: [{{call: sys_setuid, message: ok, args: [{{index: 0, type: int}}], selectors: [{{matchArgs: [{filter}]}}]}}]\n"
    );
    assert_eq!(lint(&policy, &["--target", "tetragon=1.6"]), (vec![], Some(0)));
    assert_eq!(lint(&policy, &["--target", "tetragon=1.5"]), (vec!["GW019 error".to_owned()], Some(1)));
    let action = "{action: FollowFD, argFd: 0, argName: 1}";
    let follows = format!(
        "{HEAD}  kprobes: [{{call: fd_install, syscall: false, message: ok, args: [{{index: 0, type: int}}, {{index: 1, type: file}}], selectors: [{{matchActions: [{action}]}}]}}]\n"
    );
    assert_eq!(lint(&follows, &["--target", "tetragon=1.7"]), (vec![], Some(0)));
    assert_eq!(lint(&follows, &["--target", "tetragon=1.8"]).0, ["GW019 error"; 3]);
    let output = gatewatch(&["lint", "--target", "tetragon=0.9", "-"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("expected 1.1 to 1.8"), "{output:?}");
}

/// Code, severity, targets and place of each finding of a file, in any order.
type Found = BTreeMap<PathBuf, Vec<(String, String, String, String)>>;

#[test]
fn the_command_line_reports_what_every_caller_does() {
    let profile = Profile::shipped("6.12").expect("a kernel");
    let host_namespaces = NamespaceKind::ALL.iter().copied().zip(1..).collect();
    let environment = Environment { kernel: &profile, host_namespaces: &host_namespaces };
    let kernels = [Kernel { name: "6.12", environment, nodes: None }];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
    let folders = ["good", "warn", "bad"].map(|folder| root.join(folder));
    for target in ["gatewatch", "tetragon", "tetragon=1.4"] {
        let selection = Selection::of(&[target.parse().expect("a target")]);
        let schemas = (target != "tetragon=1.4").then(Schemas::shipped);
        let against = Against { kernels: &kernels, schemas, ..Against::new(&selection) };
        let mut expected = Found::new();
        for entry in folders.iter().flat_map(|folder| fs::read_dir(folder).expect("a folder")) {
            let path = entry.expect("a file").path();
            let text = fs::read_to_string(&path).expect("text");
            let documents = parse(&text);
            let found = documents.iter().flat_map(|document| assess(document, &against).findings);
            let key = |found: gatewatch_policy::source::Located| {
                let d = found.diagnostic;
                (
                    d.code.id.to_owned(),
                    d.severity.to_string(),
                    format!("{:?}", d.targets.names()),
                    d.path.to_string(),
                )
            };
            let mut found: Vec<_> = found.map(key).collect();
            found.sort();
            if !found.is_empty() {
                expected.insert(path, found);
            }
        }
        let mut arguments = vec!["lint", "--kernel", "6.12", "--format", "json", "--target", target];
        arguments.extend(folders.iter().map(|folder| folder.to_str().expect("text")));
        let mut found = Found::new();
        for one in findings(&gatewatch(&arguments)) {
            let word = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
            // What policies are to one another is not said of one alone.
            if ["GW216", "GW217", "GW218"].contains(&word("code").as_str()) {
                continue;
            }
            let targets: Vec<&str> =
                one["targets"].as_array().expect("targets").iter().filter_map(Value::as_str).collect();
            let key = (word("code"), word("severity"), format!("{targets:?}"), word("path"));
            found.entry(PathBuf::from(word("file"))).or_default().push(key);
        }
        for codes in found.values_mut() {
            codes.sort();
        }
        let differing = expected.iter().find(|(path, wanted)| found.get(*path) != Some(wanted));
        assert_eq!(differing.map(|(path, wanted)| (path, Some(wanted), found.get(path))), None, "{target}");
        assert_eq!(found.len(), expected.len(), "{target}");
    }
}
