use super::*;
use crate::{
    model::{ArgType, HookTarget, LabelOperator, Operator},
    source::parse,
};

fn read_text(text: &str) -> (Option<Policy>, Vec<Diagnostic>) {
    let documents = parse(text);
    assert_eq!(documents.len(), 1);
    assert!(documents[0].findings.is_empty(), "{:?}", documents[0].findings);
    read(&documents[0])
}

/// A policy with this under `spec`, each line indented by the two spaces that it needs.
fn with_spec(spec: &str) -> String {
    let indented = spec.replace('\n', "\n  ");
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: p\nspec:\n  {indented}\n"
    )
}

fn reported(text: &str) -> Vec<String> {
    read_text(text).1.iter().map(|d| format!("{} {}", d.code.id, d.path)).collect()
}

const WHOLE: &str = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicyNamespaced
metadata:
  name: everything
  namespace: shop
  labels: {team: blue}
  annotations: {note: "x"}
spec:
  podSelector:
    matchLabels: {app: web}
    matchExpressions:
    - {key: tier, operator: NotIn, values: [db]}
  containerSelector: {matchExpressions: [{key: name, operator: In, values: [main]}]}
  nodeSelector: {}
  lists:
  - {name: l, type: syscalls, values: [sys_dup]}
  enforcers:
  - calls: ["list:l"]
  options:
  - {name: policy-mode, value: monitor}
  selectorsMacros:
    quiet:
      matchBinaries: [{operator: NotIn, values: [/usr/bin/ls]}]
  kprobes:
  - call: fd_install
    syscall: false
    return: true
    message: m
    tags: [a.b]
    ignore: {callNotFound: true}
    args:
    - {index: 0, type: int, label: fd}
    - {index: 1, type: file, returnCopy: true, maxData: true, sizeArgIndex: 3}
    data:
    - {index: 0, type: string, source: current_task, resolve: comm}
    returnArg: {index: 0, type: ulong}
    returnArgAction: TrackSock
    selectors:
    - label: first
      macros: [quiet]
      matchArgs: [{index: 1, operator: Prefix, values: ["/etc"]}, {operator: CapabilitiesGained, args: [0, 1]}]
      matchData: [{index: 0, operator: GreaterThan, values: ["1"]}]
      matchReturnArgs: [{index: 0, operator: NotSportPriv}]
      matchBinaries: [{operator: In, values: [/bin/x], followChildren: true}]
      matchParentBinaries: [{operator: NotPostfix, values: [sh]}]
      matchPIDs: [{operator: NotIn, values: [1], isNamespacePID: true, followForks: true}]
      matchNamespaces: [{namespace: Mnt, operator: NotIn, values: [host_ns]}]
      matchCapabilities: [{type: Permitted, operator: In, values: [CAP_BPF], isNamespaceCapability: true}]
      matchNamespaceChanges: [{operator: In, values: [Uts]}]
      matchCapabilityChanges: [{operator: In, values: [CAP_BPF]}]
      matchWorkloads: {podSelector: {}, containerSelector: {}, hostSelector: {}}
      matchActions: [{action: Override, argError: -1}, {action: Post, rateLimit: 5m, kernelStackTrace: true}]
      matchReturnActions: [{action: Signal, argSig: 9, argRegs: [a, b]}]
  fentries: [{call: a, syscall: false}]
  tracepoints: [{subsystem: sched, event: e, raw: true, args: [{index: 4}]}]
  lsmhooks: [{hook: file_open}]
  uprobes: [{path: /bin/sh, symbols: [main], btfPath: /b, binaryDigests: ["sha256:0"], ignore: {digestVerificationFailure: true}}]
  usdts: [{path: /bin/sh, provider: p, name: probe}]
  loader: true
"#;

#[test]
fn the_whole_language_is_read() {
    let (policy, found) = read_text(WHOLE);
    assert!(found.is_empty(), "{found:#?}");
    let policy = policy.unwrap();
    assert_eq!(
        (policy.kind, policy.name.as_str(), policy.namespace.as_deref()),
        (Kind::Namespaced, "everything", Some("shop"))
    );
    let spec = &policy.spec;
    assert_eq!(spec.pod_selector.as_ref().unwrap().match_expressions[0].operator, LabelOperator::NotIn);
    assert!(spec.node_selector.as_ref().unwrap().is_empty() && spec.host_selector.is_none() && spec.loader);
    assert_eq!(spec.enforcers, [["list:l"]]);
    let hook = &spec.kprobes[0];
    assert_eq!(
        hook.target,
        HookTarget::Function { call: "fd_install".to_owned(), syscall: false, syscall_written: true }
    );
    assert!(hook.on_return && hook.ignore_failure && hook.args[1].return_copy && hook.args[1].max_data);
    assert_eq!((hook.args[1].ty, hook.args[1].size_arg_index), (ArgType::File, 3));
    assert_eq!(hook.return_arg.as_ref().unwrap().ty, ArgType::Uint64);
    let selector = &hook.selectors[0];
    assert_eq!(selector.match_args[1].args, [0, 1]);
    assert_eq!(selector.match_data[0].operator, Operator::Gt);
    assert_eq!(selector.match_return_args[0].operator, Operator::NotSPortPriv);
    assert!(selector.match_pids[0].follow_forks && selector.match_binaries[0].follow_children);
    assert_eq!(selector.match_workloads.len(), 1);
    assert_eq!(selector.match_actions[0].fields["argError"], "-1");
    assert_eq!(selector.match_return_actions[0].fields["argRegs"], "a,b");
    assert_eq!(spec.tracepoints[0].args[0].ty, ArgType::Auto);
    assert_eq!([spec.lsm_hooks.len(), spec.uprobes.len(), spec.usdts.len(), spec.fentries.len()], [1; 4]);
}

#[test]
fn json_of_an_admission_request_is_read_the_same() {
    let value: serde_json::Value = serde_json::from_str(
        r#"{"apiVersion":"cilium.io/v1alpha1","kind":"TracingPolicy","metadata":{"name":"p"},
            "spec":{"kprobes":[{"call":"sys_dup","args":[{"index":"0"}]}]}}"#,
    )
    .unwrap();
    let (policy, found) = read(&Document::from_json(&value));
    assert_eq!(policy.unwrap().spec.kprobes.len(), 1);
    assert_eq!(found[0].path.to_string(), "spec.kprobes[0].args[0].index");
}

#[test]
fn every_mistake_of_form_is_found() {
    for (spec, expected) in [
        ("kprobe: []", "GW003 spec.kprobe"),
        ("kprobes: [{call: f, sycall: false}]", "GW003 spec.kprobes[0].sycall"),
        ("kprobes: [{call: 1}]", "GW004 spec.kprobes[0].call"),
        ("kprobes: [{}]", "GW005 spec.kprobes[0].call"),
        ("kprobes: [{call: f, syscall: \"false\"}]", "GW004 spec.kprobes[0].syscall"),
        ("kprobes: {call: f}", "GW004 spec.kprobes"),
        ("kprobes: [f]", "GW004 spec.kprobes[0]"),
        ("kprobes: [{call: f, return: true}]", "GW005 spec.kprobes[0].returnArg"),
        ("kprobes: [{call: f, tags: a}]", "GW004 spec.kprobes[0].tags"),
        ("kprobes: [{call: f, args: [{type: int}]}]", "GW005 spec.kprobes[0].args[0].index"),
        ("kprobes: [{call: f, args: [{index: -1}]}]", "GW004 spec.kprobes[0].args[0].index"),
        ("kprobes: [{call: f, args: [{index: 0, type: itn}]}]", "GW007 spec.kprobes[0].args[0].type"),
        ("kprobes: [{call: f, matchArgs: []}]", "GW003 spec.kprobes[0].matchArgs"),
        ("tracepoints: [{subsystem: s}]", "GW005 spec.tracepoints[0].event"),
        ("lsmhooks: [{hook: h, data: []}]", "GW003 spec.lsmhooks[0].data"),
        ("usdts: [{path: /a, provider: b}]", "GW005 spec.usdts[0].name"),
        ("lists: [{name: a, type: syscall}]", "GW007 spec.lists[0].type"),
        ("options: [{name: policy-mode, value: true}]", "GW004 spec.options[0].value"),
        ("podSelector: {matchLabels: {a: 1}}", "GW004 spec.podSelector.matchLabels.a"),
        ("podSelector: {app: web}", "GW003 spec.podSelector.app"),
        (
            "podSelector: {matchExpressions: [{key: a, operator: in}]}",
            "GW007 spec.podSelector.matchExpressions[0].operator",
        ),
        ("selectorsMacros: []", "GW004 spec.selectorsMacros"),
        (
            "kprobes: [{call: f, selectors: [{matchArgs: [{index: 0, operator: Equals, values: []}]}]}]",
            "GW007 spec.kprobes[0].selectors[0].matchArgs[0].operator",
        ),
        (
            "kprobes: [{call: f, selectors: [{matchArgs: [{index: 0, operator: In, values: [a]}]}]}]",
            "GW007 spec.kprobes[0].selectors[0].matchArgs[0].operator",
        ),
        (
            "kprobes: [{call: f, selectors: [{matchArgs: [{index: 0, operator: Equal, values: [4]}]}]}]",
            "GW004 spec.kprobes[0].selectors[0].matchArgs[0].values[0]",
        ),
        (
            "kprobes: [{call: f, selectors: [{matchBinaries: [{operator: In}]}]}]",
            "GW005 spec.kprobes[0].selectors[0].matchBinaries[0].values",
        ),
        (
            "kprobes: [{call: f, selectors: [{matchPIDs: [{operator: In, values: [\"1\"]}]}]}]",
            "GW004 spec.kprobes[0].selectors[0].matchPIDs[0].values[0]",
        ),
        (
            "kprobes: [{call: f, selectors: [{matchActions: [{action: SigKill}]}]}]",
            "GW007 spec.kprobes[0].selectors[0].matchActions[0].action",
        ),
        (
            "kprobes: [{call: f, selectors: [{matchActions: [{action: Post, rateLimit: 5}]}]}]",
            "GW004 spec.kprobes[0].selectors[0].matchActions[0].rateLimit",
        ),
    ] {
        assert_eq!(reported(&with_spec(spec)), [expected], "{spec}");
    }
}

#[test]
fn mistakes_hide_no_others_and_keep_indices() {
    let (policy, found) = read_text(&with_spec(
        "kprobes:\n- 3\n- call: f\n  args: [7, {index: 1, type: INT}]\n  selectors:\n  - matchArgs:\n    - {index: 1, operator: equal, values: [1, yes, null]}",
    ));
    let places: Vec<String> = found.iter().map(|d| d.path.to_string()).collect();
    let filter = "spec.kprobes[1].selectors[0].matchArgs[0]";
    assert_eq!(
        places,
        [
            "spec.kprobes[0]".to_owned(),
            "spec.kprobes[1].args[0]".to_owned(),
            "spec.kprobes[1].args[1].type".to_owned(),
            format!("{filter}.operator"),
            format!("{filter}.values[0]"),
            format!("{filter}.values[1]"),
            format!("{filter}.values[2]"),
        ]
    );
    let hook = &policy.unwrap().spec.kprobes[1];
    assert_eq!(hook.args[1].ty, ArgType::Int);
    assert_eq!(hook.selectors[0].match_args[0].values, ["1", "yes", ""]);
    assert_eq!(hook.selectors[0].match_args[0].operator, Operator::Equal);
}

#[test]
fn fixes_say_what_to_write() {
    let fix = |spec: &str| read_text(&with_spec(spec)).1.remove(0).fix.unwrap();
    let quoted = fix("podSelector: {matchLabels: {on: 0x1F}}");
    assert_eq!(quoted.edit, Edit::Replace("\"0x1F\"".to_owned()));
    assert!(quoted.safe);
    assert_eq!(fix("Kprobes: []").edit, Edit::Rename("kprobes".to_owned()));
    assert!(!fix("kprobs: []").safe);
    assert_eq!(fix("kprobes: [{call: f, tags: a}]").edit, Edit::Replace("[\"a\"]".to_owned()));
    assert_eq!(fix("loader: \"True\"").edit, Edit::Replace("true".to_owned()));
}

#[test]
fn misplaced_fields_are_sent_home() {
    let help = |spec: &str| read_text(&with_spec(spec)).1.remove(0).help.unwrap();
    assert_eq!(help("kprobes: [{call: f, matchArgs: []}]"), "`matchArgs` belongs in an entry of `selectors`");
    let top =
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nkprobes: []\nspec: {}\n";
    assert_eq!(read_text(top).1[0].help.as_deref(), Some("`kprobes` belongs directly under `spec`"));
}

#[test]
fn other_objects_are_no_mistake() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n";
    assert_eq!(read_text(text), (None, Vec::new()));
    let identity = identify(&parse(text)[0].root);
    assert_eq!(
        identity,
        Identity::Other { api_version: "apps/v1".to_owned(), kind: "Deployment".to_owned() }
    );
    let podinfo = "apiVersion: cilium.io/v1alpha1\nkind: PodInfo\n";
    assert!(matches!(identify(&parse(podinfo)[0].root), Identity::Other { .. }));
}

#[test]
fn slips_in_kind_and_version() {
    let object = |version: &str, kind: &str| {
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: p}}\nspec: {{}}\n")
    };
    assert_eq!(reported(&object("cilium.io/v1alpha1", "Tracingpolicy")), ["GW002 kind"]);
    assert_eq!(reported(&object("cilium.io/v1", "TracingPolicy")), ["GW002 apiVersion"]);
    assert_eq!(reported("kind: TracingPolicy\nmetadata: {name: p}\nspec: {}\n"), ["GW005 apiVersion"]);
    assert_eq!(reported("apiVersion: cilium.io/v1alpha1\nmetadata: {name: p}\nspec: {}\n"), ["GW005 kind"]);
    assert_eq!(reported("a: 1\n"), ["GW002 "]);
    assert_eq!(reported("- 1\n"), ["GW002 "]);
    assert_eq!(reported("text\n"), ["GW002 "]);
}

#[test]
fn names_of_policies() {
    let named = |metadata: &str| {
        reported(&format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {metadata}\nspec: {{}}\n"
        ))
    };
    assert_eq!(named("{name: a.b-c}"), [""; 0]);
    assert_eq!(named("{generateName: a-}"), [""; 0]);
    assert_eq!(named("{name: My_Policy}"), ["GW006 metadata.name"]);
    assert_eq!(named("{}"), ["GW005 metadata.name"]);
    assert_eq!(named("{name: 12}"), ["GW004 metadata.name"]);
    assert_eq!(named("{name: p, nam: q}"), ["GW003 metadata.nam"]);
}
