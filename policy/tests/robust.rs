//! Whatever the input, there is an answer, soon, and no panic.

#[path = "common/findings.rs"]
mod common;

use std::{fmt::Write as _, sync::LazyLock, time::Duration};

use gatewatch_kernel::Profile;
use gatewatch_policy::{
    compile::{Environment, compile},
    diagnostic::{Edit, FieldPath, Fix},
    render::{File, human, json},
    source::{Document, Lines, parse, parse_bytes},
};
use proptest::prelude::*;

use self::common::{assessed, cpu_time, host_namespaces};

/// A policy with something of everything, to be mutated.
const POLICY: &str = r#"# a comment
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: everything, annotations: {a: "b"}}
spec:
  podSelector:
    matchLabels: {app: web, "k8s:io.kubernetes.pod.namespace": shop}
    matchExpressions:
    - {key: tier, operator: NotIn, values: [db, cache]}
  containerSelector: {matchExpressions: [{key: name, operator: In, values: [main]}]}
  lists:
  - {name: l, type: syscalls, values: [sys_dup, i386/sys_dup]}
  options:
  - {name: disable-kprobe-multi, value: "true"}
  selectorsMacros:
    m: {matchBinaries: [{operator: In, values: &programs [/usr/bin/a, /bin/b]}]}
  kprobes:
  - call: security_file_permission
    syscall: false
    return: true
    message: &m "files"
    tags: [one, two]
    args:
    - {index: 0, type: file}
    - {index: 1, type: int}
    data: [{index: 0, type: string, source: current_task, resolve: comm}]
    returnArg: {index: 0, type: int}
    selectors:
    - matchArgs:
      - {index: 0, operator: Prefix, values: [/etc, "/usr\t"]}
      - {index: 1, operator: InMap, values: ["1:5", "0x7"]}
      matchData: [{index: 0, operator: Equal, values: ["sh"]}]
      matchPIDs: [{operator: NotIn, values: [0, 1], isNamespacePID: true}]
      matchNamespaces: [{namespace: Mnt, operator: NotIn, values: [host_ns]}]
      matchCapabilities: [{type: Effective, operator: In, values: [CAP_BPF]}]
      matchActions: [{action: Post, rateLimit: 5m, rateLimitScope: global}]
    - macros: [m]
      matchReturnArgs: [{index: 0, operator: Equal, values: ["-1"]}]
      matchActions: [{action: Sigkill}, {action: GetUrl, argUrl: "https://example.com"}]
  - call: tcp_connect
    syscall: false
    message: *m
    args: [{index: 0, type: sock}]
    selectors:
    - matchArgs: [{index: 0, operator: NotDAddr, values: [10.0.0.0/8, "::/0"]}, {index: 0, operator: DPort, values: ["443"]}]
      matchBinaries: [{operator: In, values: *programs, followChildren: true}]
"#;

#[allow(clippy::unwrap_used, reason = "that it can be read is tested elsewhere")]
static KERNEL: LazyLock<Profile> = LazyLock::new(|| Profile::shipped("6.12").unwrap());

/// Everything that can be done with a text, and what it takes.
fn run(text: &str) -> Duration {
    let start = cpu_time();
    let file = File::new("f", text);
    for document in parse(text) {
        let analysis = assessed(&document);
        if let Some(policy) = &analysis.policy {
            let environment = Environment { kernel: &KERNEL, host_namespaces: &host_namespaces() };
            compile(policy, environment);
        }
        for finding in analysis.findings.iter().take(20) {
            if let Some(span) = finding.span {
                assert!(span.start <= span.end && span.end as usize <= text.len(), "{span:?}");
            }
            let shown = (
                human::render(&file, finding, false),
                human::one_line(&file, finding),
                json::render(&file, finding),
            );
            assert!(!shown.1.contains('\n') && !shown.2.contains('\n'));
        }
    }
    cpu_time().saturating_sub(start)
}

#[test]
fn the_policy_to_be_spoilt_is_read() {
    let analysis = assessed(&parse(POLICY)[0]);
    assert_eq!(analysis.policy.unwrap().spec.kprobes.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        for document in parse_bytes(&bytes) {
            assessed(&document);
        }
    }

    #[test]
    fn anything_that_looks_like_yaml(text in "([-:{}\\[\\],&*!|>'\"%@`#?~<0-9a-c \n\t]|é|\r\n|---\n|<<: ){0,200}") {
        run(&text);
    }

    /// A part of the policy is removed, written twice or replaced.
    #[test]
    fn mutated_policies(from in 0..POLICY.len(), length in 0..80_usize, with in "([-:{}\\[\\],&*!|>'\"#?~ \n]|[a-z0-9]{1,5}|[ -~]{1,8}){0,6}", twice: bool) {
        let from = POLICY.floor_char_boundary(from);
        let to = POLICY.floor_char_boundary((from + length).min(POLICY.len()));
        let kept = if twice { &POLICY[from..to] } else { "" };
        run(&format!("{}{kept}{with}{}", &POLICY[..from], &POLICY[if twice { from } else { to }..]));
    }

    /// JSON objects of the right shape with any values.
    #[test]
    fn any_values(name in "[ -~éß😀\n\t\u{0}\u{1b}]{0,20}", value in "[ -~éß😀\n\t\u{0}\u{1b}]{0,20}", number: i64, flag: bool) {
        let object = serde_json::json!({
            "apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": name},
            "spec": {
                "podSelector": {"matchLabels": {name.clone(): value}, "matchExpressions": [{"key": name, "operator": "In", "values": [value, number]}]},
                "options": [{"name": name, "value": value}],
                "lists": [{"name": name, "values": [value]}],
                "kprobes": [{
                    "call": name, "syscall": flag, "tags": [value], "message": value,
                    "args": [{"index": number, "type": value}, {"index": 0, "type": "int", "resolve": value}],
                    "selectors": [{
                        "macros": [name],
                        "matchArgs": [{"index": 0, "operator": "InMap", "values": [value, number.to_string(), format!("{number}:{value}")]}],
                        "matchBinaries": [{"operator": "In", "values": [value]}],
                        "matchActions": [{"action": value}, {"action": "GetUrl", "argUrl": value}, {"action": "Post", "rateLimit": value}],
                    }],
                }],
            },
        });
        let text = object.to_string();
        run(&text);
        // The findings are the same with its text and without.
        let codes = |document: &Document| {
            let mut codes: Vec<_> = assessed(document).findings.iter().map(|f| (f.diagnostic.code.id, f.diagnostic.path.clone())).collect();
            codes.sort();
            codes
        };
        let documents = parse(&text);
        prop_assert_eq!(documents.len(), 1);
        prop_assert!(documents[0].findings.is_empty(), "{:?}", documents[0].findings);
        prop_assert_eq!(codes(&documents[0]), codes(&Document::from_json(&object)));
    }
}

/// Inputs that are made to take long: about a mebibyte each.
#[test]
fn big_inputs_take_seconds_at_most() {
    let head = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec:\n";
    let many = |before: &str, one: &dyn Fn(usize) -> String, after: &str| {
        let mut text = format!("{head}{before}");
        let mut i = 0;
        while text.len() < 1 << 20 {
            let _ = write!(text, "{}", one(i));
            i += 1;
        }
        text + after
    };
    let hook = "  kprobes:\n  - call: sys_dup\n";
    for (what, text) in [
        ("hooks", many("  kprobes:\n", &|i| format!("  - call: f{i}\n"), "")),
        ("the same hook", many("  kprobes:\n", &|_| "  - {call: sys_dup}\n".to_owned(), "")),
        ("selectors", many(&format!("{hook}    selectors:\n"), &|_| "    - {}\n".to_owned(), "")),
        (
            "filters",
            many(
                &format!("{hook}    selectors:\n    - matchArgs:\n"),
                &|i| format!("      - {{index: {i}, operator: Equal}}\n"),
                "",
            ),
        ),
        (
            "values",
            many(
                &format!(
                    "{hook}    selectors:\n    - matchBinaries:\n      - operator: In\n        values:\n"
                ),
                &|i| format!("        - /bin/{i}\n"),
                "",
            ),
        ),
        (
            "arguments",
            many(&format!("{hook}    args:\n"), &|i| format!("    - {{index: {i}, type: int}}\n"), ""),
        ),
        (
            "macros",
            many(
                &format!("{hook}    selectors:\n    - macros:\n"),
                &|i| format!("      - m{i}\n"),
                "  selectorsMacros: {m: {}}\n",
            ),
        ),
        (
            "functions that aren't there",
            many("  kprobes:\n", &|i| format!("  - {{call: tcp_conect{i}, syscall: false}}\n"), ""),
        ),
        ("LSM hooks that aren't there", many("  lsmhooks:\n", &|i| format!("  - hook: file_opn{i}\n"), "")),
        (
            "tracepoints that aren't there",
            many("  tracepoints:\n", &|i| format!("  - {{subsystem: sched, event: sched_swich{i}}}\n"), ""),
        ),
        (
            "one tracepoint",
            many(
                "  tracepoints:\n",
                &|_| {
                    "  - {subsystem: sched, event: sched_switch, args: [{index: 5, type: int}]}\n".to_owned()
                },
                "",
            ),
        ),
        ("lists", many("  lists:\n", &|i| format!("  - {{name: l{i}}}\n"), "")),
        ("unknown fields", many("", &|i| format!("  kprobez{i}: 1\n"), "")),
        ("duplicate keys", many("", &|_| "  loader: true\n".to_owned(), "")),
        (
            "labels",
            many(
                "  podSelector:\n    matchExpressions:\n",
                &|i| format!("    - {{key: a, operator: In, values: [v{i}]}}\n"),
                "",
            ),
        ),
        ("documents", many("", &|_| "---\na: 1\n".to_owned(), "")),
        ("broken documents", many("", &|_| "---\n[\n".to_owned(), "")),
        ("aliases", many("  x: &x [1, 2, 3]\n  y:\n", &|_| "  - *x\n".to_owned(), "")),
        ("merges", many("  x: &x {a: 1}\n  y:\n", &|_| "  - <<: [*x, *x]\n".to_owned(), "")),
        ("one line", many("  kprobes: [", &|_| "{call: 1},".to_owned(), "]\n")),
        ("brackets", "[".repeat(1 << 20)),
        ("quotes", format!("{head}  a: \"{}", "\\".repeat(1 << 20))),
        ("spaces", " ".repeat(1 << 20)),
        ("tabs", "\t".repeat(1 << 20)),
        ("comments", "#\n".repeat(1 << 19)),
        ("colons", "a:".repeat(1 << 19)),
        ("keys", "? ".repeat(1 << 19)),
        ("anchors", "&a ".repeat(1 << 18)),
    ] {
        let took = run(&text);
        println!("{what}: {took:?}");
        assert!(took < Duration::from_secs(20), "{what}: {took:?}");
    }
}

/// Four policies that Tetragon's API server takes and that panic its compiler on every node.
#[test]
fn what_panics_tetragon_is_a_diagnostic() {
    let policy = |selector: &str| {
        format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec:\n  lsmhooks:\n  - hook: file_open\n    \
             message: ok\n    args: [{{index: 0, type: string}}]\n    selectors:\n    - {selector}\n"
        )
    };
    let pids: Vec<String> = (1..=1100).map(|pid| pid.to_string()).collect();
    let capabilities = vec!["{operator: In, values: [CAP_BPF]}"; 300];
    for (selector, expected) in [
        (format!("matchPIDs: [{{operator: In, values: [{}]}}]", pids.join(", ")), "GW312"),
        ("matchArgs: [{index: 0, operator: Equal, values: [\"\\0\\0\\0\"]}]".to_owned(), "GW306"),
        ("matchArgs: [{index: 0, operator: Postfix, values: [\"\"]}]".to_owned(), "GW306"),
        (format!("matchCapabilities: [{}]", capabilities.join(", ")), "GW312"),
    ] {
        let analysis = assessed(&parse(&policy(&selector))[0]);
        let errors: Vec<&str> = analysis
            .findings
            .iter()
            .filter(|f| f.diagnostic.is_error())
            .map(|f| f.diagnostic.code.id)
            .collect();
        // Long lists are also reported as longer than Tetragon's buffer.
        let errors: Vec<&str> = errors.into_iter().filter(|code| *code != "GW410").collect();
        assert_eq!(errors, [expected], "{selector:.60}");
    }
}

/// A replacement that is called safe removes what it is for, and brings nothing new.
#[test]
fn safe_replacements_mend() {
    let mutated = POLICY
        .replace("index: 1, type: int}", "index: \"1\", type: INT}")
        .replace("values: [\"-1\"]", "values: [-1]")
        .replace("tags: [one, two]", "tags: one-tag")
        .replace("return: true", "return: \"true\"");
    let before = assessed(&parse(&mutated)[0]);
    let mut text = mutated.clone();
    let document = &parse(&mutated)[0];
    let replacements = before.findings.iter().rev().filter_map(|finding| match &finding.diagnostic.fix {
        Some(Fix { edit: Edit::Replace(yaml), safe: true, path, .. }) => {
            Some((document.caret(path, false)?, yaml))
        }
        _ => None,
    });
    let mut count = 0;
    for (span, yaml) in replacements {
        text.replace_range(span.range(), yaml);
        count += 1;
    }
    assert_eq!(count, 6);
    let codes = |text: &str| {
        let mut codes: Vec<(&str, FieldPath)> = assessed(&parse(text)[0])
            .findings
            .iter()
            .map(|f| (f.diagnostic.code.id, f.diagnostic.path.clone()))
            .collect();
        codes.sort();
        codes
    };
    assert_eq!(
        codes(&text),
        codes(&POLICY.replace("tags: [one, two]", "tags: [one-tag]").replace("0x7", "7"))
    );
    assert_ne!(Lines::new(&text).line(1), "");
}
