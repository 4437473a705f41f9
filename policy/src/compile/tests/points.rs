//! Points that one function can have: as a function and as a system call, at entry and at return.

use super::*;

/// A system call and the function that enters it are two points, whatever other hooks there are.
#[test]
fn one_symbol_may_be_two_points() {
    let (plan, diagnostics) = on(
        "6.12",
        "  - call: __x64_sys_setuid\n    syscall: false\n    args: [{index: 0, type: uint64}]\n  - call: sys_setuid\n    \
         syscall: true\n    args: [{index: 0, type: uint32}]\n  - call: sys_setuid\n    syscall: true\n    return: true\n    \
         returnArg: {index: 0, type: int}",
    );
    let plan = plan.unwrap_or_else(|| panic!("{diagnostics:?}"));
    let symbol = || "__x64_sys_setuid".to_owned();
    let points: Vec<&HookPoint> = plan.hooks.iter().map(|hook| &hook.point).collect();
    assert_eq!(
        points,
        [
            &HookPoint::Function { symbol: symbol(), when: When::Entry },
            &HookPoint::Syscall { symbol: symbol(), when: When::Entry },
            &HookPoint::Syscall { symbol: symbol(), when: When::Return },
        ]
    );
}

/// Entry and return of a function have separate programs, each with its own limits.
#[test]
fn entry_and_return_have_room_each() {
    let hook = |more: &str, filters: &str| {
        format!(
            "  - call: security_sb_mount\n    syscall: false\n{more}    args: [{{index: 0, type: string}}, {{index: 1, type: \
             path}}, {{index: 2, type: string}}]\n    selectors:\n    - {filters}\n"
        )
    };
    let entry =
        "matchArgs: [{index: 0, operator: Prefix, values: [/a]}, {index: 1, operator: Prefix, values: [/b]}]";
    let back = "matchArgs: [{index: 2, operator: Prefix, values: [c]}]\n      matchBinaries: [{operator: Prefix, values: \
                [/d]}]";
    let returns = "    return: true\n    returnArg: {index: 0, type: int}\n";
    assert_eq!(reported(&format!("{}{}", hook("", entry), hook(returns, back))), [""; 0]);
    // On one side they have two lanes.
    assert_eq!(reported(&format!("{}{}", hook("", entry), hook("", back))), [""; 0]);
    let selectors =
        format!("{entry}\n      matchBinaries: [{{operator: Prefix, values: [/d]}}]\n    - {back}");
    assert_eq!(
        reported(&hook("", &selectors)),
        ["GW401 spec.kprobes[0].selectors"],
        "one hook needs too much"
    );
}
