//! What people see: whole runs over one small application, and what is printed.
#![allow(clippy::expect_used, reason = "helpers of tests are not tests to clippy")]

use std::{
    fs,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

const POLICY: &str = "\
# Who reads secrets.
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: secrets
spec:
  podSelector:
    matchLabels:
      org: empire  # the good ones
  kprobes:
  - call: security_file_permission
    syscall: \"false\"
    message: A secret is read
    args:
    - index: 0
      type: file
    - index: 1
      type: int
    selectors:
    - matchArgs:
      - index: 0
        operator: Prefix
        values: [/etc/secrets/, /run/secrets/]
      - index: 1
        operator: Equal
        values: [4]
";

const APP: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: test, annotations: {gatewatch.dev/require-coverage: 'true'}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: deathstar, namespace: test}
spec:
  selector: {matchLabels: {app: deathstar}}
  template:
    metadata:
      labels:
        app: deathstar
        org: empire
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: patrol
  namespace: test
spec:
  jobTemplate:
    spec:
      template:
        metadata:
          labels:
            org: empre
---
apiVersion: v1
kind: Pod
metadata: {name: xwing, namespace: other, labels: {org: alliance}}
";

const TESTS: &str = "\
policies: [policy.yaml]
kernel: '6.12'
tests:
- name: a secret is read by the empire
  pod: {namespace: test, labels: {org: empire}}
  call: security_file_permission
  args: [/etc/secrets/plan, 4]
  counted: true
- name: and by no other pod
  pod: {namespace: test, labels: {org: alliance}}
  call: security_file_permission
  args: [/etc/secrets/plan, 4]
  counted: false
- name: writing is something else
  pod: {labels: {org: empire}}
  call: security_file_permission
  args: [/etc/secrets/plan, 2]
  counted: secrets
- name: a field that a filter reads must be set
  pod: {labels: {org: empire}}
  call: security_file_permission
  args: [/etc/secrets/plan]
  counted: true
- name: a misspelt name counts nothing
  call: security_file_permision
  counted: false
";

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [("policy.yaml", POLICY), ("app.yaml", APP), ("secrets.test.yaml", TESTS)] {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

/// Runs it in a folder; what it printed, what it said, and how it ended.
fn run_as(name: &str, folder: &Path, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_gatewatch"))
        .arg0(name)
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gatewatch runs");
    // A field that no policy reads may be missing.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("output");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    format!(
        "{}{}exit status {}",
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().expect("a status")
    )
}

fn run(folder: &TempDir, arguments: &[&str]) -> String {
    run_as("gatewatch", folder.path(), arguments, "")
}

#[test]
fn lint_of_policies_beside_workloads() {
    let folder = folder();
    insta::assert_snapshot!(run(&folder, &["lint", "--kernel", "6.12", "policy.yaml", "app.yaml"]));
    // Helm's output comes on standard input.
    let piped = run_as("gatewatch", folder.path(), &["lint", "--format", "json", "policy.yaml", "-"], APP);
    assert!(piped.contains("\"file\":\"<stdin>\",\"line\":27"), "{piped}");
    let fields = ["code", "severity", "message", "file", "line", "column", "path", "fix"];
    for line in piped.lines().filter(|line| line.contains("GW106")) {
        let object: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(fields.iter().all(|field| object.get(field).is_some()), "{line}");
    }
    let explained = run(&folder, &["lint", "--explain", "policy.yaml"]);
    assert_eq!(explained.matches("# GW004: ").count(), 1, "{explained}");
    // Workloads alone: the policies are unknown.
    assert!(run(&folder, &["lint", "app.yaml"]).ends_with("exit status 0"));
}

#[test]
fn fix_changes_what_is_safe_and_nothing_else() {
    let folder = folder();
    insta::assert_snapshot!(run(&folder, &["fix", "--diff", "policy.yaml"]));
    let read = || fs::read_to_string(folder.path().join("policy.yaml")).expect("read");
    assert_eq!(read(), POLICY);
    assert!(run(&folder, &["fix", "policy.yaml"]).ends_with("exit status 0"));
    assert_eq!(read(), POLICY.replace("\"false\"", "false").replace("[4]", "[\"4\"]"));
    assert!(run(&folder, &["fix", "--diff", "policy.yaml"]).ends_with("exit status 0"));
    assert!(run(&folder, &["lint", "policy.yaml"]).ends_with("exit status 0"));
    assert_eq!(
        run_as("gatewatch", folder.path(), &["fix", "-"], POLICY).split("gatewatch: ").next(),
        Some(&*read())
    );
}

#[test]
fn policies_are_explained_in_plain_words() {
    let folder = folder();
    run(&folder, &["fix", "policy.yaml"]);
    insta::assert_snapshot!(run(&folder, &["explain", "policy.yaml"]));
    assert!(run(&folder, &["explain", "app.yaml"]).ends_with("exit status 2"));
}

#[test]
fn tests_of_policies() {
    let folder = folder();
    run(&folder, &["fix", "policy.yaml"]);
    insta::assert_snapshot!(run(&folder, &["test", "secrets.test.yaml"]));
    let passing: String = TESTS.split("- name: writing").next().expect("a part").to_owned();
    fs::write(folder.path().join("secrets.test.yaml"), &passing).expect("written");
    assert!(run(&folder, &["test", "secrets.test.yaml"]).ends_with("2 passed, 0 failed\nexit status 0"));
    let failing = passing.replace("counted: false", "counted: true");
    fs::write(folder.path().join("secrets.test.yaml"), failing).expect("written");
    assert!(run(&folder, &["test", "secrets.test.yaml"]).ends_with("exit status 1"));
    fs::write(folder.path().join("secrets.test.yaml"), passing.replace("call:", "cal:")).expect("written");
    assert!(run(&folder, &["test", "secrets.test.yaml"]).ends_with("exit status 2"));
}

#[test]
fn coverage_is_a_table() {
    let folder = folder();
    insta::assert_snapshot!(run(&folder, &["coverage", "policy.yaml", "app.yaml"]));
    insta::assert_snapshot!(run(&folder, &["coverage", "--format", "json", "policy.yaml", "app.yaml"]));
}

#[test]
fn it_is_a_plugin_of_kubectl_too() {
    let folder = folder();
    let usage = run_as("/usr/local/bin/kubectl-gatewatch", folder.path(), &["lint"], "");
    assert!(usage.contains("Usage: kubectl gatewatch lint"), "{usage}");
    assert!(run(&folder, &["lint"]).contains("Usage: gatewatch lint"));
}

#[test]
fn shells_and_man_get_what_they_read() {
    let folder = folder();
    assert!(run(&folder, &["completions", "bash"]).contains("complete -F _gatewatch"));
    let page = run(&folder, &["man"]);
    assert!(page.contains(".TH gatewatch 1") && page.contains("gatewatch\\-lint"), "{page}");
    assert!(run(&folder, &["man", "lint"]).contains("\\-\\-deny"));
    assert!(run(&folder, &["man", "lnt"]).ends_with("exit status 2"));
}

#[test]
fn other_formats_and_colours() {
    let folder = folder();
    let sarif = run(&folder, &["lint", "--format", "sarif", "policy.yaml"]);
    let document: serde_json::Value =
        serde_json::from_str(sarif.rsplit_once("exit").expect("a status").0).expect("JSON");
    assert_eq!(document["runs"][0]["results"][0]["ruleId"], "GW004");
    let github = run(&folder, &["lint", "--format", "github", "policy.yaml"]);
    assert!(github.starts_with("::error file=policy.yaml,line=12,endLine=12,col=14"), "{github}");
    // Nothing but a terminal is coloured, unless that is asked for.
    assert!(!run(&folder, &["lint", "policy.yaml"]).contains('\u{1b}'));
    assert!(run(&folder, &["lint", "policy.yaml", "--color", "always"]).contains('\u{1b}'));
    assert!(run(&folder, &["--color", "always", "fix", "--diff", "policy.yaml"]).contains("\u{1b}[32m+"));
}

#[test]
fn the_quickstart_shows_these_files() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/quickstart.md"));
    let page = page.expect("the quickstart");
    for file in [POLICY, APP] {
        assert!(page.contains(&format!("```yaml\n{file}```\n")), "docs/quickstart.md lacks {file}");
    }
}
