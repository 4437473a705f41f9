use super::*;
use crate::{
    diagnostic::Severity,
    source::parse,
    target::{Target, Version},
};

/// Everything that is reported without a kernel.
fn findings(text: &str, selection: &Selection, schemas: Option<&Schemas>) -> Vec<Located> {
    let against = Against { selection, schemas, kernels: &[], fleet: Fleet::Requested };
    assess(&parse(text)[0], &against).findings
}

fn policy(spec: &str) -> String {
    format!("apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec: {{{spec}}}\n")
}

fn reported(spec: &str) -> Vec<String> {
    let found = findings(&policy(spec), &Selection::default(), None);
    found.iter().map(|f| format!("{} {}", f.diagnostic.code.id, f.diagnostic.path)).collect()
}

#[test]
fn mistakes_of_form_have_no_followers() {
    // Without the section it would have no hook.
    assert_eq!(reported("kprobs: [{call: sys_dup}]"), ["GW003 spec.kprobs"]);
    // Without the expression's operator it would have the wrong number of values.
    assert_eq!(
        reported(
            "kprobes: [{call: sys_dup, message: ok}], podSelector: {matchExpressions: [{key: a, operator: Inn}]}"
        ),
        ["GW007 spec.podSelector.matchExpressions[0].operator"]
    );
}

/// The parameters of `cap_capable` have other names on 7.3 than before.
#[test]
fn names_of_parameters_do_not_keep_kernels_apart() {
    let profiles = ["5.10", "7.3"].map(|name| gatewatch_kernel::Profile::shipped(name).unwrap());
    let host_namespaces = BTreeMap::new();
    let kernel = |(name, kernel)| Kernel {
        name,
        environment: Environment { kernel, host_namespaces: &host_namespaces },
        nodes: None,
    };
    let kernels: Vec<Kernel<'_>> = ["5.10", "7.3"].into_iter().zip(&profiles).map(kernel).collect();
    let selection = Selection::of(&[Target::Gatewatch]);
    let against = Against { kernels: &kernels, ..Against::new(&selection) };
    for (args, code) in [("{index: 1, type: int}", "GW205"), ("{index: 4, type: int}", "GW204")] {
        let hook = format!("kprobes: [{{call: cap_capable, syscall: false, message: ok, args: [{args}]}}]");
        let found = assess(&parse(&policy(&hook))[0], &against).findings;
        let [finding] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(finding.diagnostic.code.id, code);
        let help = finding.diagnostic.help.as_deref().unwrap_or_default();
        assert!(help.contains("on 5.10: the prototype is `int cap_capable("), "{help}");
    }
}

#[test]
fn a_filter_of_an_invalid_index_has_no_followers() {
    // Read as 0, it would be a relative path.
    let hook = "call: security_file_permission, syscall: false, message: ok, args: [{index: 0, type: file}, {index: 1, type: int}]";
    let index = "spec.kprobes[0].selectors[0].matchArgs[0].index";
    for (written, code) in [("-1", "GW004"), ("4294967297", "GW004"), ("x", "GW004")] {
        let filter = format!("{{index: {written}, operator: Equal, values: ['4']}}");
        let policy = format!("kprobes: [{{{hook}, selectors: [{{matchArgs: [{filter}]}}]}}]");
        assert_eq!(reported(&policy), [format!("{code} {index}")], "{written}");
    }
}

/// Errors of form that filters do not depend on hide nothing that filters prove.
#[test]
fn other_mistakes_of_form_hide_no_contradiction() {
    let hook = "call: __sys_setuid, syscall: false, message: ok";
    let never =
        "matchArgs: [{index: 0, operator: Equal, values: ['0']}, {index: 0, operator: Equal, values: ['1']}]";
    let has = |found: &[String], code: &str| found.iter().any(|found| found.starts_with(code));
    let found = reported(&format!(
        "kprobes: [{{{hook}, args: [{{index: 0, type: int, label: 5}}], selectors: [{{{never}}}]}}]"
    ));
    assert!(has(&found, "GW315"), "{found:?}");
    let found = reported(&format!(
        "kprobes: [{{{hook}, args: [{{index: 0, type: int}}], selectors: [{{{never}, matchActions: [{{action: Poost}}]}}]}}]"
    ));
    assert!(has(&found, "GW315"), "{found:?}");
    // One selector of three has an unknown operator.
    let one = "matchArgs: [{index: 0, operator: Equal, values: ['0']}]";
    let guessed = "matchArgs: [{index: 0, operator: Equalz, values: ['0']}]";
    let found = reported(&format!(
        "kprobes: [{{{hook}, args: [{{index: 0, type: int}}], selectors: [{{{guessed}}}, {{{one}}}, {{}}]}}]"
    ));
    assert!(has(&found, "GW321"), "{found:?}");
}

#[test]
fn a_guessed_action_is_not_judged() {
    let action = "spec.kprobes[0].selectors[0].matchActions[0].action";
    let with = |action: &str| {
        let selector = format!(
            "matchBinaries: [{{operator: In, values: [/opt/shop/run]}}], matchActions: [{{action: {action}}}]"
        );
        reported(&format!("kprobes: [{{call: sys_swapon, message: ok, selectors: [{{{selector}}}]}}]"))
    };
    for guessed in ["Block", "Overide", "Nothing"] {
        assert_eq!(with(guessed), [format!("GW007 {action}")], "{guessed}");
    }
    // In another case it is the same word.
    let error = action.replace(".action", ".argError");
    assert_eq!(with("override"), [format!("GW505 {error}"), format!("GW007 {action}")]);
}

#[test]
fn a_member_twice_hides_no_other_finding() {
    // With the other `syscall`, the function's name would be an error too.
    let twice = "call: __sys_setuid, syscall: false, syscall: true, message: ok";
    // All of these are members of the same object as the one that is there twice.
    let others = "args: [{index: 0, index: 1, type: int, maxData: true}, {index: 9, type: int}], returnArg: {index: 0, type: int64}, \
                  selectors: [{matchArgs: [{index: 3, operator: Equal, values: ['x']}]}], tags: [a]";
    let kernel = gatewatch_kernel::Profile::shipped("6.12").unwrap();
    let environment = Environment { kernel: &kernel, host_namespaces: &BTreeMap::new() };
    let kernels = [Kernel { name: "6.12", environment, nodes: None }];
    let selection = Selection::of(&[Target::Gatewatch]);
    let against = Against { kernels: &kernels, ..Against::new(&selection) };
    let of = |hook: &str| {
        let assessment = assess(&parse(&policy(&format!("kprobes: [{{{hook}}}]")))[0], &against);
        assert_eq!(assessment.plans, [None]);
        let found = assessment.findings.iter().map(|f| &f.diagnostic);
        found.map(|found| format!("{} {}", found.code.id, found.path)).collect::<Vec<_>>()
    };
    assert_eq!(of(twice), ["GW010 spec.kprobes[0].syscall"]);
    assert_eq!(
        of(&format!("{twice}, {others}")),
        [
            "GW010 spec.kprobes[0].syscall",
            "GW010 spec.kprobes[0].args[0].index",
            "GW213 spec.kprobes[0].args[0].maxData",
            "GW204 spec.kprobes[0].args[1].index",
            "GW403 spec.kprobes[0].returnArg",
            "GW303 spec.kprobes[0].selectors[0].matchArgs[0].index",
        ]
    );
}

#[test]
fn an_ambiguous_index_is_reported_of_values_behind_pointers() {
    let args = "args: [{index: 0, type: string, resolve: mm.owner.real_parent.comm}, {index: 0, type: linux_binprm}], \
                selectors: [{matchArgs: [{index: 0, operator: Equal, values: [bash]}]}]";
    let lsm = format!("lsmhooks: [{{hook: bprm_check_security, message: exec, {args}}}]");
    let kprobe = format!("kprobes: [{{call: security_bprm_check, syscall: false, message: exec, {args}}}]");
    for spec in [lsm, kprobe] {
        let ambiguous = ("GW212", Severity::Warning);
        let mut found = for_target(&spec, "gatewatch");
        found.sort_unstable();
        // A shipped profile has no structures.
        assert_eq!(found, [ambiguous, ("GW213", Severity::Note)], "{spec}");
        assert_eq!(for_target(&spec, "tetragon"), [ambiguous], "{spec}");
    }
}

#[test]
fn findings_come_in_the_order_of_the_text() {
    assert_eq!(
        reported("options: [{name: x}], kprobes: [{call: sys_dup, message: ok, tags: [a]}], loder: true"),
        ["GW014 spec.options[0].name", "GW406 spec.kprobes[0].tags[0]", "GW003 spec.loder"]
    );
}

#[test]
fn ours_is_reported_where_the_schema_has_the_same() {
    let text = policy("kprobes: [{call: sys_dup, message: ok, tags: [aa], args: [{index: 0, type: inte}]}]");
    let found = findings(&text, &Selection::default(), Some(Schemas::shipped()));
    let codes: Vec<&str> = found.iter().map(|f| f.diagnostic.code.id).collect();
    assert_eq!(codes, ["GW007"]);
}

/// Code and severity of each finding for a target.
fn for_target(spec: &str, target: &str) -> Vec<(&'static str, Severity)> {
    let selection = match target {
        "" => Selection::default(),
        target => Selection::of(&[target.parse().unwrap()]),
    };
    let kernel = gatewatch_kernel::Profile::shipped("6.12").unwrap();
    let environment = Environment { kernel: &kernel, host_namespaces: &BTreeMap::new() };
    let kernels = [Kernel { name: "6.12", environment, nodes: None }];
    let against =
        Against { selection: &selection, schemas: None, kernels: &kernels, fleet: Fleet::Requested };
    let assessment = assess(&parse(&policy(spec))[0], &against);
    let found = assessment.findings.iter().map(|f| (f.diagnostic.code.id, f.diagnostic.severity));
    found.collect()
}

#[test]
fn what_only_tetragon_refuses_is_no_error_for_gatewatch() {
    let spec = "kprobes: [{call: sys_dup, message: a}]";
    assert_eq!(for_target(spec, ""), [("GW406", Severity::Note)]);
    assert_eq!(for_target(spec, "gatewatch"), []);
    assert_eq!(for_target(spec, "tetragon"), [("GW406", Severity::Error)]);
}

#[test]
fn what_the_agent_does_not_run_is_no_error_for_tetragon() {
    let spec = "usdts: [{path: /bin/sh, provider: a, name: b, message: ok}]";
    assert_eq!(for_target(spec, "tetragon"), []);
    assert_eq!(for_target(spec, ""), [("GW009", Severity::Error)]);
}

#[test]
fn a_version_has_what_it_has() {
    let spec = "kprobes: [{call: __sys_setuid, syscall: false, message: ok, args: [{index: 0, type: uint32}], \
                selectors: [{matchArgs: [{index: 0, operator: InRange, values: ['1:5']}]}]}]";
    assert_eq!(for_target(spec, "tetragon=1.5"), [("GW019", Severity::Error)]);
    assert_eq!(for_target(spec, "tetragon=1.6"), []);
    assert_eq!(for_target(spec, ""), []);
}

#[test]
fn several_targets_give_what_is_about_any_of_them() {
    let selection = Selection::of(&[Target::Gatewatch, Target::Tetragon(Version::new(1, 4))]);
    let text = policy("usdts: [{path: /a, provider: b, name: c, message: ok, selectors: [{matchData: []}]}]");
    let found = findings(&text, &selection, None);
    let found: Vec<String> =
        found.iter().map(|f| format!("{} {}", f.diagnostic.code.id, f.diagnostic.path)).collect();
    assert_eq!(found, ["GW019 spec.usdts"], "of what is inside nothing more is reported");
}

#[test]
fn a_plan_is_there_where_gatewatch_has_no_error() {
    let kernel = gatewatch_kernel::Profile::shipped("6.12").unwrap();
    let environment = Environment { kernel: &kernel, host_namespaces: &BTreeMap::new() };
    let kernels = [Kernel { name: "6.12", environment, nodes: None }];
    let planned = |spec: &str, target: Target| {
        let selection = Selection::of(&[target]);
        let against =
            Against { selection: &selection, schemas: None, kernels: &kernels, fleet: Fleet::Requested };
        assess(&parse(&policy(spec))[0], &against).plans[0].is_some()
    };
    let tetragon = Target::Tetragon(Version::NEWEST);
    for target in [Target::Gatewatch, tetragon] {
        assert!(planned("kprobes: [{call: sys_dup, message: a}]", target), "only Tetragon rejects it");
        assert!(!planned("kprobes: [{call: sys_dup, message: ok}], loader: true", target));
        assert!(!planned("kprobes: [{call: sys_dup, message: ok, tag: a}]", target));
    }
}

#[test]
fn a_kernel_whose_nodes_are_not_selected_has_no_say() {
    let kernel = gatewatch_kernel::Profile::shipped("6.12").unwrap();
    let environment = Environment { kernel: &kernel, host_namespaces: &BTreeMap::new() };
    let labels = [BTreeMap::from([("zone".to_owned(), "1".to_owned())])];
    let kernels = [Kernel { name: "6.12", environment, nodes: Some(&labels) }];
    let selection = Selection::default();
    let fleet = Fleet::Cluster { unknown: 0 };
    let against = Against { selection: &selection, schemas: None, kernels: &kernels, fleet };
    let found = |zone: &str| {
        let spec = format!(
            "kprobes: [{{call: nothing_so, syscall: false, message: ok}}], nodeSelector: {{matchLabels: {{zone: '{zone}'}}}}"
        );
        assess(&parse(&policy(&spec))[0], &against).findings.len()
    };
    assert_eq!((found("1"), found("2")), (1, 0));
}

#[test]
fn placeholders_are_named_wherever_a_value_is_wrong() {
    let help = |spec: &str| {
        let found = findings(&policy(spec), &Selection::default(), None);
        found.into_iter().find(|f| f.diagnostic.severity > Severity::Note).and_then(|f| f.diagnostic.help)
    };
    for (spec, expected) in [
        ("kprobes: [{call: sys_dup, args: [{index: 0, type: '{{ .type }}'}]}]", "{{ .type }}"),
        ("kprobes: [{call: sys_dup}], podSelector: {matchLabels: {app: '<your-app>'}}", "<your-app>"),
        ("kprobes: [{call: sys_dup}], podSelector: {matchLabels: {'${KEY}': shop}}", "${KEY}"),
        ("kprobes: [{call: sys_dup}], options: [{name: policy-mode, value: $MODE}]", "$MODE"),
        ("lsmhooks: [{hook: file_open, selectors: [{matchPIDs: [{operator: '%s', values: [1]}]}]}]", "%s"),
        ("kprobes: [{call: sys_dup}], podSelector: {matchLabels: {app: __APP__}}", "__APP__"),
        ("kprobes: [{call: sys_dup}], podSelector: {matchLabels: {app: '@@APP@@'}}", "@@APP@@"),
        ("kprobes: [{call: sys_dup, args: [{index: 0, type: CHANGEME}]}]", "CHANGEME"),
        // Not YAML.
        ("kprobes: [{call: @@CALL@@}]", "@@CALL@@"),
    ] {
        assert_eq!(help(spec), Some(crate::placeholder::help(expected)), "{spec}");
    }
}

#[test]
fn a_placeholder_is_named_where_a_kernel_lacks_what_it_names() {
    let kernel = gatewatch_kernel::Profile::shipped("6.12").unwrap();
    let environment = Environment { kernel: &kernel, host_namespaces: &BTreeMap::new() };
    let kernels = [Kernel { name: "6.12", environment, nodes: None }];
    let selection = Selection::default();
    let against = Against { kernels: &kernels, ..Against::new(&selection) };
    for (spec, expected) in [
        ("kprobes: [{call: '{{ .call }}', message: ok}]", "{{ .call }}"),
        ("kprobes: [{call: '__x64_$CALL', syscall: false, message: ok}]", "$CALL"),
        ("tracepoints: [{subsystem: sched, event: '<event>', message: ok}]", "<event>"),
        ("lsmhooks: [{hook: '%s', message: ok}]", "%s"),
    ] {
        let text = policy(spec);
        let document = &parse(&text)[0];
        let whole = assess(document, &against).findings.into_iter().map(|found| found.diagnostic);
        // As the gate does: what depends on the object alone is kept, and the kernels are asked later.
        let later = Checked::of(document).unwrap().assess(&against).0;
        for found in [whole.collect::<Vec<_>>(), later] {
            let wrong: Vec<&Diagnostic> = found.iter().filter(|found| found.is_error()).collect();
            assert_eq!(wrong.len(), 1, "{spec}: {wrong:?}");
            assert_eq!(wrong[0].help, Some(crate::placeholder::help(expected)), "{spec}");
            assert!(wrong[0].fix.is_none(), "{spec}");
        }
    }
}

#[test]
fn an_argument_declared_twice_is_reported_once() {
    let spec = "kprobes: [{call: sys_openat, message: ok, args: [{index: 1, type: string}, {index: 1, type: uint64}], selectors: \
                [{matchArgs: [{index: 1, operator: Equal, values: [a]}]}]}]";
    assert_eq!(for_target(spec, "gatewatch"), [("GW212", Severity::Error)]);
}

#[test]
fn the_severer_of_two_findings_is_kept() {
    // The rules warn of the name; a kernel of another architecture does not have the function.
    let spec = "kprobes: [{call: __arm64_sys_dup, syscall: true, message: ok}]";
    assert_eq!(for_target(spec, "gatewatch"), [("GW214", Severity::Error)]);
}

#[test]
fn an_action_on_the_result_that_does_nothing_is_an_error_where_tetragon_rejects_it() {
    let spec = "kprobes: [{call: sys_dup, message: ok, returnArgAction: Post}]";
    assert_eq!(for_target(spec, "gatewatch"), [("GW403", Severity::Warning)]);
    assert_eq!(for_target(spec, ""), [("GW403", Severity::Warning), ("GW007", Severity::Note)]);
    assert_eq!(for_target(spec, "tetragon=1.6"), [("GW403", Severity::Warning)]);
    assert_eq!(for_target(spec, "tetragon=1.7"), [("GW007", Severity::Error)]);
}

#[test]
fn macros_are_expanded_before_anything_is_decided() {
    let kernel = gatewatch_kernel::Profile::shipped("6.12").unwrap();
    let environment = Environment { kernel: &kernel, host_namespaces: &BTreeMap::new() };
    let kernels = [Kernel { name: "6.12", environment, nodes: None }];
    let selection = Selection::of(&[Target::Gatewatch, Target::Tetragon(Version::NEWEST)]);
    let against = Against { kernels: &kernels, ..Against::new(&selection) };
    let of = |macros: &str, selectors: &str| {
        let hook = format!(
            "call: __sys_setuid, syscall: false, message: ok, args: [{{index: 0, type: uint32}}], selectors: [{selectors}]"
        );
        let spec = format!("selectorsMacros: {{m: {{{macros}}}}}, kprobes: [{{{hook}}}]");
        let assessment = assess(&parse(&policy(&spec))[0], &against);
        let found = assessment.findings.iter().map(|f| &f.diagnostic);
        let found = found.map(|found| format!("{} {}", found.code.id, found.path)).collect::<Vec<_>>();
        (assessment.plans[0].clone(), found)
    };
    let (plan, found) = of("matchArgs: [{index: 0, operator: Equal, values: ['0']}]", "{macros: [m]}");
    assert_eq!((plan.unwrap().hooks[0].selectors[0].filters.len(), found), (1, Vec::new()));
    // An argument's value, in two selectors: once, and where it is written.
    let (plan, found) =
        of("matchArgs: [{index: 0, operator: Equal, values: [x]}]", "{macros: [m]}, {macros: [m]}");
    assert!(plan.is_none());
    assert_eq!(found[0], "GW304 spec.selectorsMacros.m.matchArgs[0].values[0]");
    assert_eq!(found.iter().filter(|found| found.starts_with("GW304")).count(), 1, "{found:?}");
    // Actions of macros are actions: Tetragon misses these.
    let (plan, found) = of("matchActions: [{action: Sigkill}]", "{macros: [m]}");
    assert!(plan.unwrap().enforces());
    assert!(found.iter().all(|found| !found.starts_with("GW509")), "{found:?}");
    let (plan, found) = of("matchActions: [{action: CleanupEnforcerNotification}]", "{macros: [m]}");
    assert!(plan.unwrap().monitors());
    assert!(found.contains(&"GW509 spec.selectorsMacros.m.matchActions[0].action".to_owned()), "{found:?}");
    let (_, found) = of("matchActions: [{action: NotifyEnforcer, argError: -1}]", "{macros: [m]}");
    assert!(found.iter().any(|found| found.starts_with("GW503")), "{found:?}");
    // One that is not defined is one mistake.
    let (plan, found) = of("matchArgs: [{index: 0, operator: Equal, values: ['0']}]", "{macros: [q]}");
    assert_eq!((plan, found), (None, vec!["GW016 spec.kprobes[0].selectors[0].macros[0]".to_owned()]));
    // A selector with nothing but macros has their filters.
    let (_, found) = of(
        "matchArgs: [{index: 0, operator: Equal, values: ['0']}]",
        "{macros: [m]}, {matchActions: [{action: NoPost}]}",
    );
    assert!(found.iter().all(|found| !found.starts_with("GW309")), "{found:?}");
}
