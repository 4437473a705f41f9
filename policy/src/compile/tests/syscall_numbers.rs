//! The numbers of system calls, and lists of calls as values.

use super::whole;
use crate::plan::{Field, Test};

fn on(kernel: &str, hook: &str, filter: &str) -> (Option<(Field, Test)>, Vec<String>) {
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec:\n  lists:\n  - {{name: ids, type: \
         syscalls, values: [sys_setuid, x64/sys_setgid, i386/sys_setuid]}}\n  - {{name: none, type: syscalls, values: [sys_no_such]}}\n  \
         - {{name: arm, type: syscalls, values: [arm64/sys_read]}}\n  - {{name: functions, values: [tcp_connect]}}\n  - {{name: all, \
         type: generated_syscalls}}\n  tracepoints:\n  - {hook}\n    selectors: [{{matchArgs: [{filter}]}}]\n"
    );
    let (plan, found) = whole(kernel, &text);
    let filter = plan.map(|plan| plan.hooks[0].selectors[0].filters[0].clone());
    let found = found.iter().map(|found| format!("{} {}", found.code.id, found.path)).collect();
    (filter.map(|filter| (filter.field, filter.test)), found)
}

const RECORD: &str = "subsystem: raw_syscalls\n    event: sys_enter\n    args: [{index: 4, type: syscall64}]";
const RAW: &str =
    "subsystem: raw_syscalls\n    event: sys_enter\n    raw: true\n    args: [{index: 1, type: syscall64}]";

#[test]
fn numbers_have_the_bit_of_their_table() {
    let bit = 1_i128 << 31;
    for kernel in ["5.10", "6.1", "6.12", "7.3"] {
        for (hook, index) in [(RECORD, 4), (RAW, 1)] {
            let test = |operator: &str, values: &str| {
                let filter = format!("{{index: {index}, operator: {operator}, values: {values}}}");
                let (filter, found) = on(kernel, hook, &filter);
                let (field, test) = filter.unwrap_or_else(|| panic!("{kernel}: {found:?}"));
                assert_eq!((field, found.len()), (Field::Syscall(index), 0), "{kernel}: {found:?}");
                test
            };
            assert_eq!(
                test("InMap", "['list:ids', '3', '10:12']"),
                Test::Int {
                    negated: false,
                    ranges: vec![(3, 3), (10, 12), (105, 106), (bit + 23, bit + 23), (bit + 213, bit + 213)]
                }
            );
            assert_eq!(test("NotEqual", "['59']"), Test::Int { negated: true, ranges: vec![(59, 59)] });
            assert_eq!(
                test("Equal", "['0x8000000b']"),
                Test::Int { negated: false, ranges: vec![(bit + 11, bit + 11)] }
            );
            let Test::Int { negated: true, ranges } = test("NotInMap", "['list:all']") else {
                panic!("a range")
            };
            assert!(ranges.iter().any(|(low, high)| *low <= 59 && 59 <= *high), "{ranges:?}");
        }
    }
}

#[test]
fn an_integer_with_a_list_is_the_number() {
    for ty in ["uint64", "int64"] {
        let hook = RECORD.replace("syscall64", ty);
        let (filter, found) = on("6.12", &hook, "{index: 4, operator: InMap, values: ['list:ids']}");
        let (field, _) = filter.unwrap_or_else(|| panic!("{ty}: {found:?}"));
        assert_eq!((field, found.len()), (Field::Syscall(4), 0), "{ty}: {found:?}");
        // Without one it is what is declared.
        let (filter, _) = on("6.12", &hook, "{index: 4, operator: InMap, values: ['59']}");
        assert!(matches!(filter, Some((Field::Arg { index: 4, bits: 64, .. }, _))), "{ty}: {filter:?}");
    }
}

#[test]
fn mistakes_with_numbers_and_lists() {
    let at = "spec.tracepoints[0].selectors[0].matchArgs[0]";
    for (filter, expected) in [
        ("{index: 4, operator: InMap, values: ['list:idz']}", format!("GW015 {at}.values[0]")),
        ("{index: 4, operator: InMap, values: ['list:functions']}", format!("GW015 {at}.values[0]")),
        ("{index: 4, operator: InMap, values: ['list:none']}", "GW307 spec.lists[1].values[0]".to_owned()),
        ("{index: 4, operator: InMap, values: ['list:arm']}", "GW214 spec.lists[2].values[0]".to_owned()),
        ("{index: 4, operator: Equal, values: [execve]}", format!("GW304 {at}.values[0]")),
        ("{index: 4, operator: GT, values: ['5']}", format!("GW301 {at}.operator")),
    ] {
        let (filtered, found) = on("6.12", RECORD, filter);
        assert_eq!((filtered, found), (None, vec![expected]), "{filter}");
    }
    // No other field is such a number.
    let filter = "{index: 4, operator: Equal, values: ['1']}";
    let other = RECORD.replace("raw_syscalls", "syscalls").replace("sys_enter", "sys_enter_setuid");
    assert_eq!(on("6.12", &other, filter).1, ["GW205 spec.tracepoints[0].args[0].type"]);
    let registers = RAW.replace("index: 1", "index: 0");
    let filter = "{index: 0, operator: Equal, values: ['1']}";
    assert_eq!(on("6.12", &registers, filter).1, [format!("GW009 {at}.index")]);
}
