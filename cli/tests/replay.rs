//! `gatewatch replay` and `gatewatch test --record` on the samples of `gatewatch-events`.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not tests to clippy")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

const POLICY: &str = "\
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: outside
spec:
  kprobes:
  - call: tcp_connect
    syscall: false
    message: a connection
    args:
    - {index: 0, type: sock}
    selectors:
    - matchArgs:
      - {index: 0, operator: DAddr, values: [\"@NETWORK@\"]}
";

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/tests/records.jsonl")
}

fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gatewatch")).current_dir(folder.path()).args(arguments).output().unwrap()
}

fn policy(folder: &TempDir, network: &str) {
    fs::write(folder.path().join("policy.yaml"), POLICY.replace("@NETWORK@", network)).unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_changed_policy_is_replayed() {
    let folder = TempDir::new().unwrap();
    let records = samples();
    for (network, counted) in [("10.0.0.0/24", true), ("192.0.2.0/24", false)] {
        policy(&folder, network);
        let output = run(&folder, &["replay", records.to_str().unwrap(), "policy.yaml"]);
        let errors = text(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let connect = "🔌 connect web/api-7d4b9c-x2x7z /bin/sh tcp 10.0.0.1:40000 -> 10.0.0.2:443 [SIGKILL, monitor mode: not done]\n    \
             counted by outside\n";
        assert_eq!(text(&output.stdout), if counted { connect } else { "" });
        let sentence = if counted { "1 counted, 0 not counted" } else { "0 counted, 1 not counted" };
        assert!(errors.contains(sentence), "{errors}");
        assert!(errors.contains("of functions that these policies do not hook"), "{errors}");
    }
}

#[test]
fn a_record_that_lacks_what_a_policy_reads_is_not_guessed() {
    let folder = TempDir::new().unwrap();
    policy(&folder, "10.0.0.0/24");
    let path = folder.path().join("policy.yaml");
    let with = fs::read_to_string(&path).unwrap()
        + "      matchCapabilities:\n      - {type: Effective, operator: In, values: [CAP_SYS_ADMIN]}\n";
    fs::write(&path, with).unwrap();
    let output = run(&folder, &["replay", samples().to_str().unwrap(), "policy.yaml"]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(
        errors.contains(
            "1 cannot be decided: the policies read `process.capabilities.Effective`, in records of \
             kprobe:tcp_connect, which the records lack"
        ),
        "{errors}"
    );
}

#[test]
fn recorded_events_become_tests_that_pass() {
    let folder = TempDir::new().unwrap();
    policy(&folder, "10.0.0.0/24");
    let line = fs::read_to_string(samples()).unwrap().lines().nth(2).unwrap().to_owned();
    let elsewhere = line.replace("10.0.0.2", "192.0.2.1");
    // The same event twice makes one test.
    fs::write(folder.path().join("records.jsonl"), format!("{line}\n{elsewhere}\n{line}\n")).unwrap();
    let output = run(&folder, &["test", "--record", "records.jsonl", "policy.yaml"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    fs::write(folder.path().join("tests.yaml"), &output.stdout).unwrap();
    let tests = run(&folder, &["test", "tests.yaml"]);
    let errors = text(&tests.stderr);
    assert!(
        tests.status.success() && errors.contains("2 passed, 0 failed"),
        "{errors}{}",
        text(&tests.stdout)
    );
    // A change of the policy is found.
    policy(&folder, "192.0.2.0/24");
    let changed = run(&folder, &["test", "tests.yaml"]);
    assert!(text(&changed.stderr).contains("0 passed, 2 failed"), "{}", text(&changed.stdout));
}

/// The three ways to name a place in a program are different places, though two are the same number.
#[test]
fn a_record_of_a_uprobe_is_counted_by_the_policy_with_its_place() {
    let folder = TempDir::new().unwrap();
    let records = samples();
    let place = ["symbols: [readline]", "offsets: [4096]", "addrs: [4096]"];
    for (place, line) in place.into_iter().zip(["readline", "+0x1000", "0x1000"]) {
        let policy = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: shell}}\nspec:\n  uprobes:\n  \
             - path: /bin/bash\n    {place}\n    message: a shell\n"
        );
        fs::write(folder.path().join("policy.yaml"), policy).unwrap();
        let output = run(&folder, &["replay", records.to_str().unwrap(), "policy.yaml"]);
        let counted =
            format!("🕵️ uprobe  web/api-7d4b9c-x2x7z /bin/sh /bin/bash {line} ls\n    counted by shell\n");
        assert_eq!(text(&output.stdout), counted, "{}", text(&output.stderr));
    }
}
