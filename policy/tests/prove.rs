//! What the prover takes a filter for is what the compiler makes of it: the same values pass.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

#[path = "common/findings.rs"]
mod common;

use std::sync::LazyLock;

use gatewatch_kernel::Profile;
use gatewatch_policy::{
    assess::Checked,
    compile::{Environment, compile},
    diagnostic::FieldPath,
    evaluate::{Value, test},
    plan::Filter,
    prove::{Key, Set, lower},
    source::Document,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use self::common::host_namespaces;

static KERNEL: LazyLock<Profile> = LazyLock::new(|| Profile::shipped("6.12").unwrap());

/// The first filter of a selector as the compiler sees it and as the prover does; none where it has an error.
fn both_ways(call: &str, args: &Json, selector: &Json) -> Option<(Filter, Set)> {
    let policy = json!({
        "apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "p"},
        "spec": {"kprobes": [{"call": call, "syscall": false, "args": args, "selectors": [selector]}]},
    });
    let policy = Checked::of(&Document::from_json(&policy)).ok()?.policy;
    let environment = Environment { kernel: &KERNEL, host_namespaces: &host_namespaces() };
    let plan = compile(&policy, environment).0?;
    let hook = &policy.spec.kprobes[0];
    let mut conditions = lower(hook, &hook.selectors[0], &FieldPath::root());
    let condition = conditions.remove(0);
    assert!(!matches!(condition.key, Key::Opaque(_)), "the prover doesn't understand {selector}");
    Some((plan.hooks[0].selectors[0].filters[0].clone(), condition.set))
}

/// Whether both let the same values pass.
fn agree(filter: &Filter, set: &Set, values: &[Option<Value>]) -> Result<(), TestCaseError> {
    for value in values {
        let passes = match (set, value) {
            (Set::Ints(set), None) => set.contains(None),
            (Set::Ints(set), Some(Value::Int(number))) => set.contains(Some(*number)),
            // In the order of addresses, the first is the least integer.
            (Set::Ints(set), Some(Value::Address(bytes))) => {
                set.contains(Some((u128::from_be_bytes(*bytes) ^ 1 << 127).cast_signed()))
            }
            (Set::Text(set), None) => set.contains(None),
            (Set::Text(set), Some(Value::Text(text))) => {
                set.contains(Some(std::str::from_utf8(text).unwrap()))
            }
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(passes, test(&filter.test, value.as_ref()), "{:?}", value);
    }
    Ok(())
}

fn integers(low: i128, high: i128) -> Vec<Option<Value>> {
    let near = |n: i128| n - 2..=n + 2;
    let all = (-10..20).chain(near(low)).chain(near(high)).chain((3..63).flat_map(|bit| near(1 << bit)));
    all.filter(|n| (low..=high).contains(n)).map(|n| Some(Value::Int(n))).collect()
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

const NUMBERS: &[&str] =
    &["0", "1", "-1", "7", "0x8", "15", "4294967295", "-2147483648", "2147483647", "0xff00", "65535", "1024"];
const PATHS: &[&str] =
    &["/", "/etc", "/etc/", "/etc/ssh/", "/usr/bin/sudo", "/usr", ".conf", "f", "/usr/bin/"];
const NETWORKS: &[&str] = &[
    "10.0.0.0/8",
    "10.1.2.3",
    "0.0.0.0/0",
    "::/0",
    "::1",
    "2001:db8::/32",
    "fe80::/10",
    "::ffff:0:0/96",
    "128.0.0.0/1",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn integers_of_both_signs(
        unsigned: bool,
        operator in one_of(&["Equal", "NotEqual", "GT", "LT", "Mask", "InMap", "NotInMap", "InRange", "NotInRange"]),
        values in prop::collection::vec((one_of(NUMBERS), one_of(NUMBERS), any::<bool>()), 1..4),
    ) {
        let range = operator.contains("Range");
        let values: Vec<String> = values
            .into_iter()
            .map(|(a, b, pair)| if range || pair && operator.contains("Map") { format!("{a}:{b}") } else { a })
            .collect();
        let (call, index, ty) = if unsigned { ("__sys_setuid", 0, "uint32") } else { ("security_file_permission", 1, "int") };
        let args = json!([{"index": index, "type": ty}]);
        let selector = json!({"matchArgs": [{"index": index, "operator": operator, "values": values}]});
        if let Some((filter, set)) = both_ways(call, &args, &selector) {
            let (low, high) = if unsigned { (0, u32::MAX.into()) } else { (i32::MIN.into(), i32::MAX.into()) };
            agree(&filter, &set, &integers(low, high))?;
        }
    }

    #[test]
    fn paths_and_programs(
        program: bool,
        operator in one_of(&["Equal", "NotEqual", "Prefix", "NotPrefix", "Postfix", "NotPostfix"]),
        values in prop::collection::vec(one_of(PATHS), 1..4),
        texts in prop::collection::vec("[/a-f]{0,6}", 0..20),
    ) {
        let named = |word: &str| match word { "Equal" => "In".to_owned(), "NotEqual" => "NotIn".to_owned(), other => other.to_owned() };
        let args = json!([{"index": 0, "type": "file"}]);
        let selector = if program {
            json!({"matchBinaries": [{"operator": named(&operator), "values": values}]})
        } else {
            json!({"matchArgs": [{"index": 0, "operator": operator, "values": values}]})
        };
        if let Some((filter, set)) = both_ways("security_file_permission", &args, &selector) {
            let known = PATHS.iter().flat_map(|path| [(*path).to_owned(), format!("{path}x"), format!("x{path}")]);
            let texts = texts.into_iter().chain(known).map(|text| Some(Value::Text(text.into_bytes()))).chain([None]);
            agree(&filter, &set, &texts.collect::<Vec<_>>())?;
        }
    }

    #[test]
    fn addresses(
        operator in one_of(&["SAddr", "NotSAddr", "DAddr", "NotDAddr"]),
        values in prop::collection::vec(one_of(NETWORKS), 1..4),
        random in prop::collection::vec(any::<[u8; 16]>(), 0..20),
    ) {
        let args = json!([{"index": 0, "type": "sock"}]);
        let selector = json!({"matchArgs": [{"index": 0, "operator": operator, "values": values}]});
        if let Some((filter, set)) = both_ways("tcp_connect", &args, &selector) {
            let known = ["10.1.2.3", "11.0.0.0", "9.255.255.255", "127.0.0.1", "200.0.0.1"]
                .map(|text| text.parse::<std::net::Ipv4Addr>().unwrap().to_ipv6_mapped())
                .into_iter()
                .chain(["::1", "::", "2001:db8::5", "2001:db9::", "fe80::1", "ffff::"].map(|text| text.parse().unwrap()));
            let all = known.map(|address| address.octets()).chain(random);
            agree(&filter, &set, &all.map(|address| Some(Value::Address(address))).chain([None]).collect::<Vec<_>>())?;
        }
    }

    #[test]
    fn parts_of_sockets(
        filter in prop_oneof![
            (one_of(&["SPort", "DPort", "NotSPort", "NotDPort"]), one_of(&["443", "0:1023", "1024:65535", "8080"])),
            (one_of(&["SPortPriv", "NotSportPriv", "DPortPriv", "NotDPortPriv"]), Just(String::new())),
            (Just("Protocol".to_owned()), one_of(&["IPPROTO_TCP", "17"])),
            (Just("Family".to_owned()), one_of(&["AF_INET", "10"])),
            (Just("State".to_owned()), one_of(&["TCP_LISTEN", "1"])),
        ],
    ) {
        let (operator, value) = filter;
        let values: Vec<String> = if value.is_empty() { Vec::new() } else { vec![value] };
        let args = json!([{"index": 0, "type": "sock"}]);
        let selector = json!({"matchArgs": [{"index": 0, "operator": operator, "values": values}]});
        let (filter, set) = both_ways("tcp_connect", &args, &selector).expect("it has no error");
        let mut values = integers(0, 255);
        values.push(None);
        agree(&filter, &set, &values)?;
    }

    #[test]
    fn processes(negated: bool, kind in 0..3, numbers in prop::collection::vec(0_u32..20, 1..4)) {
        let operator = if negated { "NotIn" } else { "In" };
        let names: Vec<&str> = numbers.iter().map(|n| ["CAP_CHOWN", "CAP_KILL", "CAP_BPF"][*n as usize % 3]).collect();
        let texts: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        let selector = match kind {
            0 => json!({"matchPIDs": [{"operator": operator, "values": numbers}]}),
            1 => json!({"matchCapabilities": [{"operator": operator, "values": names}]}),
            _ => json!({"matchNamespaces": [{"namespace": "Pid", "operator": operator, "values": texts}]}),
        };
        let (filter, set) = both_ways("create_user_ns", &json!([]), &selector).expect("it has no error");
        agree(&filter, &set, &integers(0, 1 << 31))?;
    }
}
