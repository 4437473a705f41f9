//! Sockets behind a `struct socket`, and addresses in a `struct sockaddr`.

use super::{reported, test_of, whole};
use crate::plan::{Field, SocketPart, Test};

const ARGS: &str = "args: [{index: 0, type: socket}, {index: 1, type: sockaddr}]";
const AT: &str = "spec.kprobes[0].selectors[0].matchArgs[0]";

fn connect(filter: &str) -> String {
    format!(
        "  - call: security_socket_connect\n    syscall: false\n    {ARGS}\n    selectors:\n    - matchArgs: [{filter}]"
    )
}

#[test]
fn every_part_of_a_socket_is_read() {
    for (operator, values, part) in [
        ("SAddr", "[10.0.0.0/8]", SocketPart::SourceAddress),
        ("NotDAddr", "['::1']", SocketPart::DestinationAddress),
        ("SPort", "['1:5']", SocketPart::SourcePort),
        ("DPortPriv", "[]", SocketPart::DestinationPort),
        ("Protocol", "[IPPROTO_TCP]", SocketPart::Protocol),
        ("Family", "[AF_INET]", SocketPart::Family),
        ("State", "[TCP_CLOSE]", SocketPart::State),
    ] {
        let filter = connect(&format!("{{index: 0, operator: {operator}, values: {values}}}"));
        assert_eq!(test_of(&filter).0, Field::Socket { index: 0, part }, "{operator}");
    }
}

#[test]
fn an_address_has_one_end() {
    let of = |operator: &str, values: &str| {
        connect(&format!("{{index: 1, operator: {operator}, values: {values}}}"))
    };
    let field = |part| Field::Sockaddr { index: 1, part };
    assert_eq!(test_of(&of("NotSAddr", "[10.0.0.0/8]")).0, field(SocketPart::SourceAddress));
    assert_eq!(
        test_of(&of("NotSportPriv", "[]")),
        (field(SocketPart::SourcePort), Test::Int { negated: true, ranges: vec![(0, 1023)] })
    );
    assert_eq!(test_of(&of("Family", "[AF_UNIX]")).0, field(SocketPart::Family));
    for operator in ["DAddr", "DPort", "Protocol", "State"] {
        assert_eq!(reported(&of(operator, "['1']")), [format!("GW301 {AT}.operator")], "{operator}");
    }
    assert_eq!(reported(&of("SPort", "['70000']")), [format!("GW304 {AT}.values[0]")]);
}

#[test]
fn names_of_unix_sockets_and_devices() {
    let unix = |operator: &str, values: &str| {
        connect(&format!("{{index: 1, operator: {operator}, values: {values}}}"))
            .replace("sockaddr}", "sockaddr_un}")
    };
    // The function has the length of the address behind it.
    let name = Field::UnixName { index: 1, length: Some(2) };
    for operator in ["Equal", "NotEqual", "Prefix", "NotPrefix"] {
        assert_eq!(test_of(&unix(operator, "[/run/x]")).0, name, "{operator}");
    }
    let family = Field::Sockaddr { index: 1, part: SocketPart::Family };
    assert_eq!(test_of(&unix("Family", "[AF_UNIX]")).0, family);
    assert_eq!(reported(&unix("SPort", "['1']")), [format!("GW301 {AT}.operator")]);
    let device = "  - call: dev_hard_start_xmit\n    syscall: false\n    args: [{index: 1, type: net_device}]\n    selectors:\n    - \
                  matchArgs: [{index: 1, operator: Equal, values: [lo]}]";
    assert_eq!(test_of(device).0, Field::DeviceName(1));
    let wrong = device.replace("index: 1, type", "index: 0, type").replace("{index: 1, op", "{index: 0, op");
    assert_eq!(reported(&wrong), ["GW205 spec.kprobes[0].args[0].type"]);
    let open = "  - call: sys_write\n    args: [{index: 0, type: fd}]\n    selectors:\n    - matchArgs: [{index: 0, operator: \
                FileType, values: [reg]}]";
    assert_eq!(test_of(open).0, Field::DescriptorType(0));
}

#[test]
fn every_kernel_has_the_types() {
    let policy =
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec:\n  kprobes:\n";
    let call = "  - call: sys_connect\n    args: [{index: 1, type: sockaddr}]\n    selectors:\n    - matchArgs: [{index: 1, \
                operator: SPort, values: ['80']}]";
    for kernel in ["5.10", "6.1", "6.12", "7.3"] {
        for hook in [connect("{index: 1, operator: SPort, values: ['80']}").as_str(), call] {
            let (plan, found) = whole(kernel, &format!("{policy}{hook}\n"));
            assert!(plan.is_some() && found.is_empty(), "{kernel}: {found:?}");
        }
    }
    let other = connect("{index: 0, operator: SPort, values: ['80']}").replace("type: socket", "type: sock");
    assert_eq!(reported(&other), ["GW205 spec.kprobes[0].args[0].type"]);
}
