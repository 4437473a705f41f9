//! What a person reads.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::{Said, Stage, pod, policy};
use crate::{parallel::side_by_side, paths};

const TWO_FAULTS: &str = "
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: two-faults}
spec:
  kprobes:
  - call: security_file_permission
    syscall: false
    message: reads
    args: [{index: 0, type: file}]
    selectors: [{matchArgs: [{index: 1, operator: Equal, values: ['4']}]}]
  - {call: securty_file_permission, syscall: false, message: slip}
";

pub(super) fn all_errors_at_once(stage: &mut Stage) -> Result<()> {
    let place = "spec.kprobes[0].selectors[0].matchArgs[0].index";
    for verb in ["apply", "create"] {
        // Of a single object kubectl prints the causes.
        let said = stage.kubectl(&[verb, "-f", "-"], TWO_FAULTS)?;
        let first = format!("* {place}: GW303 argument 1 is not declared");
        let parts = [
            "The TracingPolicy \"two-faults\" is invalid",
            &first,
            "* spec.kprobes[1].call: GW201 ",
            "did you mean `security_file_permission`",
        ];
        said.expect(false, &parts)?;
    }
    // Of several it prints the message, as all other clients do.
    let both = format!("{TWO_FAULTS}---{}", TWO_FAULTS.replace("two-faults", "two-more"));
    let said = stage.apply(&both)?;
    let first = format!("\n  GW303 {place}: argument 1 is not declared");
    let parts = [
        "Error from server (Invalid)",
        "admission webhook \"policies.gatewatch.dev\" denied the request: 2 errors",
        &first,
        "\n  GW201 spec.kprobes[1].call: ",
        "docs/codes",
    ];
    said.expect(false, &parts)
}

const DUPLICATE_KEY: &str = "
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: duplicate-key}
spec:
  kprobes:
  - call: __sys_setuid
    syscall: false
    message: the first
    message: the last
    args: [{index: 0, type: uint32}]
    selectors: [{matchArgs: [{index: 0, operator: Equal, values: ['0']}]}]
";

/// The message and the page of GW010 say this of kubectl. The webhook can't warn: it receives the last value only.
pub(super) fn duplicate_key(stage: &mut Stage) -> Result<()> {
    let stored = "jsonpath={.spec.kprobes[0].message}";
    let arguments = ["apply", "--dry-run=server", "--validate=strict", "-o", stored, "-f", "-"];
    let said = stage.kubectl(&arguments, DUPLICATE_KEY)?;
    ensure!(said.ok && said.text == "the last", "kubectl printed {:?}", said.text);
    Ok(())
}

/// Codes of a policy that is right, and that the agent doesn't run yet: it is rejected for that alone, offline as here.
const NOT_RUN: &str = "GW009";
/// The diagnostic that the API server prevents: it sets the namespace of an object that has none before it calls the webhook.
const PREVENTED: &str = "GW105";

/// Puts a table in force on both replicas: what is said of a policy has to be so a few times in a row.
fn in_force(stage: &Stage, table: &str, policy: &str, holds: impl Fn(&Said) -> bool) -> Result<()> {
    if table.is_empty() {
        stage.must(&["-n", "gatewatch", "delete", "configmap", "gatewatch-modes"], "")?;
    } else {
        stage.must(&["apply", "-f", "-"], &modes_map(table))?;
    }
    stage.eventually(&format!("the modes are {table:?}"), |stage| {
        for _ in 0..4 {
            if !holds(&dry_run(stage, policy)?) {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

fn dry_run(stage: &Stage, manifest: &str) -> Result<Said> {
    stage.kubectl(&["apply", "--dry-run=server", "-f", "-"], manifest)
}

/// Tetragon rejects it for its message of one byte, and no release before 1.6 has its operator.
const FOR_GATEWATCH: &str = "
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: short}
spec:
  kprobes:
  - call: __sys_setuid
    syscall: false
    message: a
    args: [{index: 0, type: uint32}]
    selectors: [{matchArgs: [{index: 0, operator: InRange, values: ['1:5']}]}]
";

/// Gatewatch's agent does not support `refCtrOffsets` yet.
const FOR_TETRAGON: &str = "
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: uprobe}
spec:
  uprobes: [{path: /bin/sh, symbols: [main], refCtrOffsets: [8], message: shell}]
";

/// The same two policies in front of Gatewatch, of Tetragon, and of an old Tetragon.
pub(super) fn targets(stage: &mut Stage) -> Result<()> {
    stage.silently(&["apply", "--dry-run=server", "-f", "-"], FOR_GATEWATCH)?;
    dry_run(stage, FOR_TETRAGON)?.expect(false, &["GW009"])?;

    in_force(stage, "target: tetragon", FOR_GATEWATCH, |said| !said.ok && said.text.contains("GW406"))?;
    ensure!(!dry_run(stage, FOR_GATEWATCH)?.text.contains("GW019"), "the newest Tetragon has the operator");
    stage.silently(&["apply", "--dry-run=server", "-f", "-"], FOR_TETRAGON)?;

    in_force(stage, "target: tetragon=1.5", FOR_GATEWATCH, |said| !said.ok && said.text.contains("GW019"))?;
    dry_run(stage, FOR_GATEWATCH)?.expect(false, &["`InRange` was added in Tetragon 1.6", "GW406"])?;

    in_force(stage, "", FOR_GATEWATCH, |said| said.ok)?;
    dry_run(stage, FOR_TETRAGON)?.expect(false, &["GW009"])
}

/// Every policy of the corpus, as its first line expects it: for both programs.
pub(super) fn corpus(stage: &mut Stage) -> Result<()> {
    in_force(stage, "target: [gatewatch, tetragon]", FOR_GATEWATCH, |said| !said.ok)?;
    let outcome = corpus_for_both(stage);
    in_force(stage, "", FOR_GATEWATCH, |said| said.ok)?;
    outcome
}

fn corpus_for_both(stage: &Stage) -> Result<()> {
    // A policy of a namespace that isn't there is rejected for that alone.
    stage.must(&["create", "namespace", "shop"], "")?;
    let mut policies = Vec::new();
    for folder in ["good", "warn", "bad"] {
        let path = paths::root().join("tests/corpus").join(folder);
        for file in files(&path)? {
            let text =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let name = file.strip_prefix(paths::root()).unwrap_or(&file).display().to_string();
            if text.contains("cilium.io/v1alpha1") {
                policies.push((folder, name, text));
            }
        }
    }
    let seen = policies.len();
    // Most of a call of kubectl is its start and what it asks the API server before the policy.
    let outcomes = side_by_side(&policies, |(folder, name, text)| unexpected(stage, folder, name, text))?;
    let faults: Vec<String> = outcomes.into_iter().flatten().collect();
    ensure!(faults.is_empty(), "{} of {seen} policies:\n{}", faults.len(), faults.join("\n"));
    ensure!(seen > 0, "there is no corpus in tests/corpus");
    println!("  {seen} policies");
    Ok(())
}

/// How a policy of this folder of the corpus is answered otherwise than its first line expects; `None` if it is not.
fn unexpected(stage: &Stage, folder: &str, name: &str, text: &str) -> Result<Option<String>> {
    let expected = text.lines().next().and_then(|line| line.strip_prefix("# expect:")).unwrap_or("");
    let mut codes = expected.split_whitespace().filter(|code| code.starts_with("GW"));
    let said = stage.kubectl(&["apply", "--dry-run=server", "-f", "-"], text)?;
    let refused = !said.ok;
    let quiet = !said.text.contains("Warning: GW");
    let not_run = said.text.contains(NOT_RUN);
    let fine = match folder {
        "good" => quiet && refused == not_run,
        "warn" => codes.any(|code| said.text.contains(code) || code == PREVENTED) && refused == not_run,
        _ => refused,
    };
    Ok((!fine).then(|| format!("{name} ({expected}): {}", said.text.trim())))
}

fn files(folder: &std::path::Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn modes_map(table: &str) -> String {
    let table = table.replace('\n', "\n    ");
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: gatewatch-modes, namespace: gatewatch}}\ndata:\n  \
         modes.yaml: |\n    {table}\n"
    )
}

pub(super) fn modes(stage: &mut Stage) -> Result<()> {
    stage.must(&["create", "namespace", "modes"], "")?;
    stage.must(&["apply", "-f", "-"], &policy("modes", "team: payments"))?;
    let slip = pod("modes", "slip", "team: paymnets");
    let ask = |stage: &Stage| stage.kubectl(&["apply", "--dry-run=server", "-f", "-"], &slip);
    stage.eventually("the usual mode warns", |stage| {
        let said = ask(stage)?;
        Ok(said.ok && said.text.contains("Warning: GW106"))
    })?;

    // Every replica has to have taken the table up: a few answers in a row are from both.
    let all = |stage: &Stage, wanted: &dyn Fn(bool, &str) -> bool| -> Result<bool> {
        for _ in 0..4 {
            let said = ask(stage)?;
            if !wanted(said.ok, &said.text) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    stage.must(&["apply", "-f", "-"], &modes_map("modes: {GW106: off}"))?;
    stage.eventually("off says nothing", |stage| all(stage, &|ok, text| ok && !text.contains("GW106")))?;
    stage
        .must(&["apply", "-f", "-"], &modes_map("modes: {GW106: off}\nnamespaces: {modes: {GW1xx: deny}}"))?;
    stage.eventually("deny rejects in the namespace", |stage| {
        all(stage, &|ok, text| !ok && text.contains("GW106"))
    })?;

    stage.must(&["apply", "-f", "-"], &modes_map("modes: {GW106: perhaps}"))?;
    let path = r"jsonpath={.metadata.annotations.gatewatch\.dev/modes}";
    let annotation = ["-n", "gatewatch", "get", "configmap", "gatewatch-modes", "-o", path];
    stage.eventually("a bad table is rejected on the ConfigMap", |stage| {
        Ok(stage.must(&annotation, "")?.contains("invalid mode \"perhaps\""))
    })?;
    ensure!(
        all(stage, &|ok, text| !ok && text.contains("GW106"))?,
        "the table before is not in force any more"
    );

    let exempt = "exempt: {namespaces: [modes]}\nnamespaces: {modes: {GW1xx: deny}}";
    stage.must(&["apply", "-f", "-"], &modes_map(exempt))?;
    stage.eventually("an exempt namespace hears nothing", |stage| {
        all(stage, &|ok, text| ok && !text.contains("GW106"))
    })?;
    stage.must(&["-n", "gatewatch", "delete", "configmap", "gatewatch-modes"], "")?;
    stage.eventually("the usual modes are back", |stage| {
        all(stage, &|ok, text| ok && text.contains("Warning: GW106"))
    })?;
    stage.must(&["delete", "tracingpolicy", "modes"], "")?;
    Ok(())
}
