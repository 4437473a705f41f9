use super::*;
use crate::{
    assess::{Against, assess},
    diagnostic::{Diagnostic, FieldPath},
    selection::Selection,
    source::{Document, Located, Span, parse},
};

const POLICY: &str = "\
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: files
spec:
  podSelector:
    matchExpressions:
    - {key: app, operator: In, values: []}
  kprobes:
  - call: security_file_permission
    sycall: false  # a typo
    message: \"ü\\ta file\"
    args:
    - index: 0
      type: file
    selectors:
    - matchArgs:
      - index: 0
        operator: Prefix
        values: [/etc, 5]
";

fn found(document: &Document) -> Vec<Located> {
    assess(document, &Against::new(&Selection::default())).findings
}

fn findings(text: &str) -> Vec<Located> {
    parse(text).iter().flat_map(found).collect()
}

#[test]
fn people_see_the_line() {
    let file = File::new("policies/files.yaml", POLICY);
    let shown: Vec<String> = findings(POLICY).iter().map(|f| human::render(&file, f, false)).collect();
    insta::assert_snapshot!(shown.join("\n\n"), @r##"
    error[GW103]: `In` has no values, so it never selects anything
     --> policies/files.yaml:8:7
      |
    8 |     - {key: app, operator: In, values: []}
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: add values, or remove the expression

    error[GW003]: unknown field `sycall`; the API server silently drops it
      --> policies/files.yaml:11:5
       |
    11 |     sycall: false  # a typo
       |     ^^^^^^
       |
       = help: did you mean `syscall`?

    error[GW004]: expected a string, found an integer (`5`); the API server rejects the policy
      --> policies/files.yaml:20:24
       |
    20 |         values: [/etc, 5]
       |                        ^
       |
       = help: quote it: `"5"`
    "##);
}

#[test]
fn people_see_whom_it_is_about() {
    let text = POLICY.replace("    message: \"ü\\ta file\"\n", "    message: a\n");
    let file = File::new("policies/files.yaml", &text);
    let found = findings(&text);
    let about = found.iter().find(|found| found.diagnostic.code.id == "GW406").unwrap();
    assert!(human::render(&file, about, false).ends_with("= note: this applies to Tetragon only"));
    assert!(json::render(&file, about).contains(r#""targets":["tetragon"]"#));
}

#[test]
fn colors_are_only_where_they_are_wanted() {
    let file = File::new("f", POLICY);
    let finding = &findings(POLICY)[0];
    assert!(!human::render(&file, finding, false).contains('\u{1b}'));
    assert!(human::render(&file, finding, true).contains('\u{1b}'));
}

#[test]
fn one_line_each() {
    let file = File::new("policies/files.yaml", POLICY);
    let shown: Vec<String> = findings(POLICY).iter().map(|f| human::one_line(&file, f)).collect();
    insta::assert_snapshot!(shown.join("\n"), @r##"
    policies/files.yaml:8:7: error[GW103]: `In` has no values, so it never selects anything; add values, or remove the expression
    policies/files.yaml:11:5: error[GW003]: unknown field `sycall`; the API server silently drops it; did you mean `syscall`?
    policies/files.yaml:20:24: error[GW004]: expected a string, found an integer (`5`); the API server rejects the policy; quote it: `"5"`
    "##);
}

#[test]
fn programs_get_objects() {
    let file = File::new("policies/files.yaml", POLICY);
    let shown: Vec<String> = findings(POLICY).iter().map(|f| json::render(&file, f)).collect();
    insta::assert_snapshot!(shown.join("\n"), @r##"
    {"code":"GW103","severity":"error","message":"`In` has no values, so it never selects anything","help":"add values, or remove the expression","file":"policies/files.yaml","line":8,"column":7,"path":"spec.podSelector.matchExpressions[0]","targets":["gatewatch","tetragon"]}
    {"code":"GW003","severity":"error","message":"unknown field `sycall`; the API server silently drops it","help":"did you mean `syscall`?","file":"policies/files.yaml","line":11,"column":5,"path":"spec.kprobes[0].sycall","targets":["gatewatch","tetragon"],"fix":{"title":"write `syscall`","path":"spec.kprobes[0].sycall","safe":false,"edit":"rename","value":"syscall"}}
    {"code":"GW004","severity":"error","message":"expected a string, found an integer (`5`); the API server rejects the policy","help":"quote it: `\"5\"`","file":"policies/files.yaml","line":20,"column":24,"path":"spec.kprobes[0].selectors[0].matchArgs[0].values[1]","targets":["gatewatch","tetragon"],"fix":{"title":"quote it: `\"5\"`","path":"spec.kprobes[0].selectors[0].matchArgs[0].values[1]","safe":true,"edit":"replace","value":"\"5\""}}
    "##);
}

#[test]
fn without_a_text_the_path_says_where() {
    let value = serde_json::json!({
        "apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "p"}, "spec": {"loder": true}
    });
    let findings = found(&Document::from_json(&value));
    let file = File::new("request", "");
    insta::assert_snapshot!(human::render(&file, &findings[0], false), @r##"
    error[GW003]: unknown field `loder`; the API server silently drops it
    --> request
     = note: at spec.loder
     = help: did you mean `loader`?
    "##);
    assert!(human::one_line(&file, &findings[0]).starts_with("request:spec.loder: error[GW003]: "));
    assert!(!json::render(&file, &findings[0]).contains("\"line\""));
}

#[test]
fn long_lines_are_cut_around_the_caret() {
    let text = format!("{}: [\"{}\" x]", "a".repeat(1000), "b".repeat(100_000));
    let file = File::new("long.yaml", &text);
    let found = findings(&text);
    let shown = human::render(&file, &found[0], false);
    assert!(shown.len() < 2000, "{}", shown.len());
    let position = file.position(&found[0]).unwrap();
    assert!(shown.contains(&format!("long.yaml:1:{}", position.column)), "{shown}");
}

#[test]
fn texts_cannot_command_the_terminal() {
    let message = "\u{1b}[2Jgone\u{202e}";
    let finding = Located {
        diagnostic: Diagnostic::new(&crate::codes::SYNTAX, FieldPath::root().field(message), message)
            .help(message),
        span: Some(Span { start: 0, end: 1 }),
    };
    for text in ["\u{1b}[2J: \u{202e}x\n", ""] {
        let file = File::new(message, text);
        let bare = Located { span: None, ..finding.clone() };
        for shown in [
            human::render(&file, &finding, false),
            human::render(&file, &bare, false),
            human::one_line(&file, &finding),
            human::one_line(&file, &bare),
            json::render(&file, &finding),
        ] {
            assert!(!shown.contains('\u{1b}'), "{shown:?}");
        }
    }
}

#[test]
fn github_gets_workflow_commands() {
    let file = File::new("policies/a,b.yaml", POLICY);
    let mut findings = findings(POLICY);
    findings[0].diagnostic.label = Some("100%".to_owned());
    let shown: Vec<String> = findings.iter().map(|f| github::render(&file, f)).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn code_scanning_gets_one_document() {
    let file = File::new("policies/ä b.yaml", POLICY);
    let mut report = sarif::Report::new();
    for finding in &findings(POLICY)[..2] {
        report.add(&file, finding);
    }
    insta::assert_snapshot!(report.render("1.2.3"));
}
