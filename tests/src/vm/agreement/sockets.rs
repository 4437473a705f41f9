//! Filters on sockets.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    process::Command,
};

use gatewatch_policy::{
    evaluate::Value,
    plan::{Field, Filter, Network, Test},
};
use proptest::prelude::*;

use super::{Made, POLICIES, agree, draw, hook};
use crate::calls;

/// Addresses of this machine.
fn addresses() -> Vec<IpAddr> {
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

fn bytes(address: &IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Networks that have one of the addresses.
fn network(addresses: &[IpAddr]) -> impl Strategy<Value = Network> + 'static {
    let known: Vec<[u8; 16]> = addresses.iter().map(bytes).collect();
    (proptest::sample::select(known), 0_u8..=128).prop_map(|(address, prefix)| {
        let kept = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        Network { address: (u128::from_be_bytes(address) & kept).to_be_bytes(), prefix }
    })
}

fn one(field: Field, negated: bool, value: i128) -> Filter {
    Filter { field, test: Test::Int { negated, ranges: vec![(value, value)] } }
}

/// The IP headers of datagrams.
pub(in crate::vm) fn packets() {
    let addresses: Vec<IpAddr> = addresses().into_iter().filter(IpAddr::is_ipv4).collect();
    let filter = prop_oneof![
        3 => (any::<bool>(), proptest::collection::vec(network(&addresses), 1..4)).prop_map(|(negated, networks)| Filter {
            field: Field::PacketDestination(1),
            test: Test::Address { negated, networks },
        }),
        1 => (any::<bool>(), prop_oneof![Just(2_i128), Just(10)]).prop_map(|(negated, family)| one(Field::PacketFamily(1), negated, family)),
        1 => (any::<bool>(), prop_oneof![Just(6_i128), Just(17)]).prop_map(|(negated, protocol)| one(Field::PacketProtocol(1), negated, protocol)),
    ];
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    agree("skb", hook("ip_send_skb", false, false, filter), POLICIES, |runner| {
        (0..80)
            .map(|_| {
                let address = draw(runner, &proptest::sample::select(addresses.clone()));
                socket.send_to(b"x", (address, 9)).expect("sent");
                Made::of([
                    (Field::PacketDestination(1), Value::Address(bytes(&address))),
                    (Field::PacketFamily(1), Value::Int(2)),
                    (Field::PacketProtocol(1), Value::Int(17)),
                ])
            })
            .collect()
    });
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
