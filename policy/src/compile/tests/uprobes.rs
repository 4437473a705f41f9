//! Functions of user programs.

use super::{super::tests::whole, *};
use crate::plan::ProgramAddress;

/// Compiles a policy with these `uprobes` (YAML in one line).
fn on(uprobes: &str) -> (Option<Plan>, Vec<String>) {
    let (plan, diagnostics) = whole(
        "6.12",
        &format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec: {{uprobes: [{uprobes}]}}\n"
        ),
    );
    let reported = diagnostics.iter().map(|d| format!("{} {}", d.code.id, d.path)).collect();
    (plan, reported)
}

fn reported(uprobes: &str) -> Vec<String> {
    on(uprobes).1
}

#[test]
fn each_place_is_a_hook() {
    let (plan, reported) = on(
        "{path: /bin/sh, symbols: [main, main+0x10, main], args: [{index: 1, type: string}], selectors: \
                               [{matchArgs: [{index: 1, operator: Equal, values: [a]}]}]}, {path: /bin/sh, offsets: [4096]}, \
                               {path: /bin/sh, addrs: [8192], return: true, returnArg: {index: 0, type: int}}",
    );
    assert_eq!(reported, [""; 0]);
    let plan = plan.unwrap();
    let labels: Vec<String> = plan.hooks.iter().map(|hook| hook.point.label()).collect();
    let path = "uprobe:/bin/sh";
    assert_eq!(
        labels,
        [
            format!("{path}/main"),
            format!("{path}/main+0x10"),
            format!("{path}/+0x1000"),
            format!("{path}/0x2000")
        ]
    );
    assert_eq!(plan.hooks[0].selectors, plan.hooks[1].selectors);
    assert_eq!(plan.hooks[0].selectors[0].filters[0].field, Field::UserString(1));
    let last = HookPoint::Uprobe {
        path: "/bin/sh".to_owned(),
        at: ProgramAddress::Address(8192),
        when: When::Return,
    };
    assert_eq!(plan.hooks[3].point, last);
}

#[test]
fn what_no_program_has_is_an_error() {
    let hook = |rest: &str| format!("{{path: /bin/sh, symbols: [main]{rest}}}");
    let on_arg = |ty: &str| {
        hook(&format!(
            ", args: [{{index: 0, type: {ty}}}], selectors: [{{matchArgs: [{{index: 0, operator: Equal, values: [a]}}]}}]"
        ))
    };
    assert_eq!(reported(&on_arg("string")), [""; 0]);
    assert_eq!(reported(&on_arg("file")), ["GW205 spec.uprobes[0].args[0].type"]);
    assert_eq!(reported("{path: bin/sh, symbols: [main]}"), ["GW306 spec.uprobes[0].path"]);
    assert_eq!(reported("{path: /bin/sh, symbols: ['main+x']}"), ["GW306 spec.uprobes[0].symbols[0]"]);
    let many: Vec<String> = (0..129).map(|i| i.to_string()).collect();
    assert_eq!(
        reported(&format!("{{path: /bin/sh, offsets: [{}]}}", many.join(", "))),
        ["GW413 spec.uprobes[0]"]
    );
}

#[test]
fn what_does_not_run_yet_is_said() {
    let hook = |rest: &str| reported(&format!("{{path: /bin/sh, symbols: [main], {rest}}}"));
    assert_eq!(hook("refCtrOffsets: [1]"), ["GW009 spec.uprobes[0].refCtrOffsets"]);
    assert_eq!(hook("binaryDigests: ['sha256:00']"), ["GW009 spec.uprobes[0].binaryDigests"]);
    assert_eq!(
        hook(
            "return: true, returnArg: {index: 0, type: int}, args: [{index: 0, type: int}], selectors: [{matchArgs: [{index: 0, \
             operator: Equal, values: ['1']}]}]"
        ),
        ["GW009 spec.uprobes[0].selectors[0].matchArgs"]
    );
}
