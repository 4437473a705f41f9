//! Sets of capabilities that are arguments.

use super::{on, reported, test_of, whole};
use crate::{
    model::{CapabilitySet, NamespaceKind},
    plan::{Field, Filter, Test},
};

/// A filter on `security_capset`, whose last three arguments are sets.
fn capset(filter: &str) -> String {
    format!(
        "  - call: security_capset\n    syscall: false\n    args: [{{index: 3, type: cap_inheritable}}, {{index: 2, type: \
         cap_effective}}, {{index: 0, type: cred}}]\n    selectors:\n    - matchArgs: [{filter}]"
    )
}

const AT: &str = "spec.kprobes[0].selectors[0].matchArgs[0]";

#[test]
fn sets_are_compared_as_their_bits() {
    let test = |operator: &str, values: &str| {
        let (field, test) =
            test_of(&capset(&format!("{{index: 2, operator: {operator}, values: {values}}}")));
        assert_eq!(field, Field::CapabilityArg(2));
        test
    };
    let max = i128::from(u64::MAX);
    assert_eq!(
        test("Equal", "['CAP_CHOWN, CAP_KILL', '0x100']"),
        Test::Int { negated: false, ranges: vec![(0x21, 0x21), (0x100, 0x100)] }
    );
    assert_eq!(test("NotEqual", "['0']"), Test::Int { negated: true, ranges: vec![(0, 0)] });
    assert_eq!(test("GT", "[CAP_KILL]"), Test::Int { negated: false, ranges: vec![(33, max)] });
    assert_eq!(test("LT", "['0', CAP_KILL]"), Test::Int { negated: false, ranges: vec![(0, 31)] });
    assert_eq!(test("Mask", "[CAP_CHOWN, CAP_SYSLOG]"), Test::Mask { negated: false, mask: 1 << 34 | 1 });
}

#[test]
fn gained_is_what_the_first_set_has_not() {
    let gained = |args: &str| test_of(&capset(&format!("{{operator: CapabilitiesGained, args: {args}}}")));
    let any = Test::Int { negated: false, ranges: vec![(1, u64::MAX.into())] };
    assert_eq!(gained("[0, 1]"), (Field::CapabilitiesGained { old: 3, new: 2 }, any.clone()));
    assert_eq!(gained("[1, 0]"), (Field::CapabilitiesGained { old: 2, new: 3 }, any));
}

#[test]
fn mistakes_with_sets() {
    for (filter, expected) in [
        ("{index: 2, operator: Equal, values: [CAP_SYSADMIN]}", format!("GW307 {AT}.values[0]")),
        ("{index: 2, operator: Mask, values: ['-1']}", format!("GW304 {AT}.values[0]")),
        ("{index: 2, operator: Mask, values: []}", format!("GW302 {AT}")),
        ("{index: 2, operator: InMap, values: ['1']}", format!("GW301 {AT}.operator")),
        ("{operator: CapabilitiesGained, args: [1]}", format!("GW303 {AT}")),
        ("{operator: CapabilitiesGained, args: [1, 3]}", format!("GW303 {AT}.args[1]")),
        ("{operator: CapabilitiesGained, args: [2, 1]}", format!("GW301 {AT}.args[0]")),
        ("{operator: CapabilitiesGained, args: [0, 1], values: ['1']}", format!("GW302 {AT}.values")),
        // Tetragon passes every call for them.
        ("{index: 0, operator: Mask, values: ['1']}", format!("GW009 {AT}.index")),
    ] {
        assert_eq!(reported(&capset(filter)), [expected], "{filter}");
    }
    let number = capset("{index: 2, operator: Mask, values: ['1']}").replace("cap_effective", "uint64");
    assert_eq!(reported(&number), [""; 0], "the address");
}

#[test]
fn of_a_namespace_it_is_another_than_the_host_s() {
    let selector = |operator: &str| {
        format!(
            "  - call: __sys_setuid\n    syscall: false\n    selectors:\n    - matchCapabilities: [{{operator: {operator}, values: \
             [CAP_KILL], isNamespaceCapability: true}}]"
        )
    };
    for (operator, negated) in [("In", false), ("NotIn", true)] {
        let (plan, found) = on("6.12", &selector(operator));
        let filters = plan.unwrap_or_else(|| panic!("{found:?}")).hooks.remove(0).selectors.remove(0).filters;
        let outside = Filter {
            field: Field::Namespace(NamespaceKind::User),
            test: Test::Int { negated: true, ranges: vec![(4_026_531_837, 4_026_531_837)] },
        };
        let set = Filter {
            field: Field::Capabilities(CapabilitySet::Effective),
            test: Test::Mask { negated, mask: 1 << 5 },
        };
        assert_eq!(filters, [outside, set], "{operator}");
    }
}

#[test]
fn every_kernel_has_the_type() {
    for kernel in ["5.10", "6.1", "6.12", "7.3"] {
        let hook = capset("{index: 2, operator: Mask, values: [CAP_BPF]}");
        let policy =
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec:\n  kprobes:\n";
        let (plan, found) = whole(kernel, &format!("{policy}{hook}\n"));
        assert!(plan.is_some() && found.is_empty(), "{kernel}: {found:?}");
    }
    let other = capset("{index: 2, operator: Mask, values: ['1']}").replace("index: 2", "index: 1");
    assert_eq!(reported(&other), ["GW205 spec.kprobes[0].args[1].type"]);
}
