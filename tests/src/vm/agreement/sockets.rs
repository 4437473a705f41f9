//! Filters on sockets.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    process::Command,
};

use gatewatch_policy::{
    evaluate::Value,
    plan::{Field, Filter, Network, SocketPart, Test},
};
use proptest::{prelude::*, test_runner::TestRunner};

use super::{Made, POLICIES, agree, draw, hook};
use crate::calls;

/// Addresses of this machine.
pub(super) fn addresses() -> Vec<IpAddr> {
    let status = Command::new("sh")
        .arg("-c")
        .arg("for a in 192.0.2.1 192.0.2.200; do ip address replace $a/32 dev lo; done; for a in 2001:db8::1 2001:db8:1::1; do ip -6 address replace $a/128 dev lo nodad; done")
        .status()
        .expect("a shell");
    assert!(status.success());
    vec![
        Ipv4Addr::LOCALHOST.into(),
        Ipv4Addr::new(127, 1, 2, 3).into(),
        Ipv4Addr::new(192, 0, 2, 1).into(),
        Ipv4Addr::new(192, 0, 2, 200).into(),
        Ipv6Addr::LOCALHOST.into(),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1).into(),
    ]
}

pub(super) fn bytes(address: &IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Networks that have one of the addresses.
pub(super) fn network(addresses: &[IpAddr]) -> impl Strategy<Value = Network> + 'static {
    let known: Vec<[u8; 16]> = addresses.iter().map(bytes).collect();
    (proptest::sample::select(known), 0_u8..=128).prop_map(|(address, prefix)| {
        let kept = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        Network { address: (u128::from_be_bytes(address) & kept).to_be_bytes(), prefix }
    })
}

pub(super) fn one(field: Field, negated: bool, value: i128) -> Filter {
    Filter { field, test: Test::Int { negated, ranges: vec![(value, value)] } }
}

fn in_networks(addresses: &[IpAddr], field: Field) -> impl Strategy<Value = Filter> + 'static {
    (any::<bool>(), proptest::collection::vec(network(addresses), 1..4))
        .prop_map(move |(negated, networks)| Filter { field, test: Test::Address { negated, networks } })
}

fn is(field: Field, values: Vec<i128>) -> impl Strategy<Value = Filter> {
    (any::<bool>(), proptest::sample::select(values))
        .prop_map(move |(negated, value)| one(field, negated, value))
}

const fn socket(part: SocketPart) -> Field {
    Field::Socket { index: 0, part }
}

const fn sockaddr(part: SocketPart) -> Field {
    Field::Sockaddr { index: 1, part }
}

/// Connects a UDP socket twice: the second time, the socket has the first address as its destination.
fn connect_twice(runner: &mut TestRunner, addresses: &[IpAddr]) -> [Made; 2] {
    let is_v4 = draw(runner, &any::<bool>());
    let addresses: Vec<IpAddr> = addresses.iter().copied().filter(|ip| ip.is_ipv4() == is_v4).collect();
    let address = || proptest::sample::select(addresses.clone());
    let (from, own) = draw(runner, &(address(), 40_000_u16..40_005));
    let (first, second) = draw(runner, &((address(), 1_u16..6), (address(), 1_u16..6)));
    let udp = UdpSocket::bind((from, own)).expect("a socket");
    let none: IpAddr = if is_v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    [((none, 0), first, 7), (first, second, 1)].map(|(before, to, state)| {
        udp.connect(to).expect("connected");
        let number = |number| Value::Int(i128::from(number));
        let family = number(if is_v4 { 2 } else { 10 });
        Made::of([
            (socket(SocketPart::SourceAddress), Value::Address(bytes(&from))),
            (socket(SocketPart::SourcePort), number(own)),
            (socket(SocketPart::DestinationAddress), Value::Address(bytes(&before.0))),
            (socket(SocketPart::DestinationPort), number(before.1)),
            (socket(SocketPart::Protocol), number(17)),
            (socket(SocketPart::Family), family.clone()),
            (socket(SocketPart::State), number(state)),
            (sockaddr(SocketPart::SourceAddress), Value::Address(bytes(&to.0))),
            (sockaddr(SocketPart::SourcePort), number(to.1)),
            (sockaddr(SocketPart::Family), family),
        ])
    })
}

/// Sockets behind a `struct socket`, and addresses in the memory of the kernel and of the program.
pub(in crate::vm) fn socket_arguments() {
    let addresses = addresses();
    let events =
        |runner: &mut TestRunner| (0..40).flat_map(|_| connect_twice(runner, &addresses)).collect::<Vec<_>>();
    let of_socket = prop_oneof![
        2 => in_networks(&addresses, socket(SocketPart::SourceAddress)),
        2 => in_networks(&addresses, socket(SocketPart::DestinationAddress)),
        1 => is(socket(SocketPart::SourcePort), (40_000..40_005).collect()),
        1 => is(socket(SocketPart::DestinationPort), (0..6).collect()),
        1 => is(socket(SocketPart::Protocol), vec![6, 17]),
        1 => is(socket(SocketPart::Family), vec![2, 10]),
        1 => is(socket(SocketPart::State), vec![1, 7]),
    ];
    agree("socket", hook("security_socket_connect", false, false, of_socket), POLICIES, events);
    let of_address = || {
        prop_oneof![
            3 => in_networks(&addresses, sockaddr(SocketPart::SourceAddress)),
            1 => is(sockaddr(SocketPart::SourcePort), (0..6).collect()),
            1 => is(sockaddr(SocketPart::Family), vec![1, 2, 10]),
        ]
    };
    agree(
        "sockaddr of the kernel",
        hook("security_socket_connect", false, false, of_address()),
        POLICIES,
        events,
    );
    let symbol = crate::kernel::host().profile.syscall_symbol("sys_connect");
    agree("sockaddr of the program", hook(&symbol, true, false, of_address()), POLICIES, events);
}

/// Addresses of both families, ports, family, protocol.
pub(in crate::vm) fn sockets() {
    let addresses = addresses();
    let filter = prop_oneof![
        3 => (any::<bool>(), proptest::collection::vec(network(&addresses), 1..4)).prop_map(|(negated, networks)| Filter {
            field: Field::DestinationAddress(0),
            test: Test::Address { negated, networks },
        }),
        1 => (any::<bool>(), 1_i128..6).prop_map(|(negated, port)| one(Field::DestinationPort(0), negated, port)),
        1 => (any::<bool>(), prop_oneof![Just(2_i128), Just(10)]).prop_map(|(negated, family)| one(Field::Family(0), negated, family)),
        1 => any::<bool>().prop_map(|negated| one(Field::Protocol(0), negated, 6)),
    ];
    agree("sock", hook("tcp_connect", false, false, filter), POLICIES, |runner| {
        (0..80)
            .map(|_| {
                let (address, port) = draw(runner, &(proptest::sample::select(addresses.clone()), 1_u16..6));
                calls::connect(address, port);
                Made::of([
                    (Field::DestinationAddress(0), Value::Address(bytes(&address))),
                    (Field::DestinationPort(0), Value::Int(i128::from(port))),
                    (Field::Family(0), Value::Int(if address.is_ipv4() { 2 } else { 10 })),
                    (Field::Protocol(0), Value::Int(6)),
                ])
            })
            .collect()
    });
}
