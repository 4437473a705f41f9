//! The command as its users run it.
#![allow(clippy::expect_used, reason = "helpers of tests are not tests to clippy")]

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

fn gatewatch(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gatewatch")).args(arguments).output().expect("gatewatch runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const UNKNOWN: &str = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: p\nspec:\n  kprobes:\n    - call: securty_file_permission\n      syscall: false\n";

#[test]
fn shipped_policies_are_clean() {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let output = gatewatch(&["lint", "--deny", "warnings", policies.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn a_mistake_has_code_place_and_suggestion() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("p.yaml");
    fs::write(&file, UNKNOWN).expect("written");
    let output = gatewatch(&["lint", file.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(1));
    for part in ["GW201", "p.yaml:7:13", "`security_file_permission`"] {
        assert!(text(&output).contains(part), "{part} is not in:\n{}", text(&output));
    }
    // Said once, though four kernels were asked.
    assert_eq!(text(&output).matches("GW201").count(), 1, "{}", text(&output));
}

#[test]
fn what_only_some_kernels_have_is_said_of_these() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("p.yaml");
    fs::write(&file, UNKNOWN.replace("securty_file_permission", "security_file_truncate")).expect("written");
    let path = file.to_str().expect("text");
    let output = gatewatch(&["lint", "--format", "json", path]);
    assert!(text(&output).contains("on 5.10 and 6.1: "), "{}", text(&output));
    assert_eq!(gatewatch(&["lint", "--kernel", "6.12", path]).status.code(), Some(0));
}

#[test]
fn standard_input_and_things_that_cannot_be_read() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_gatewatch"))
        .args(["lint", "--format", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gatewatch runs");
    child.stdin.take().expect("a pipe").write_all(UNKNOWN.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("output");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("\"code\":\"GW201\""), "{}", text(&output));
    let missing = gatewatch(&["lint", "/no/such/file.yaml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/no/such/file.yaml"));
    assert_eq!(gatewatch(&["lint", "--kernel", "2.4", "-"]).status.code(), Some(2));
    assert_eq!(gatewatch(&["lint"]).status.code(), Some(2));
}

#[test]
fn codes_are_explained() {
    let output = gatewatch(&["explain", "gw201"]);
    assert!(text(&output).starts_with("# GW201: "), "{}", text(&output));
    assert_eq!(gatewatch(&["explain", "GW999"]).status.code(), Some(2));
}
