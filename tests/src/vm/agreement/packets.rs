//! Filters on packets: their headers, and the devices that they leave by.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    process::Command,
};

use gatewatch_policy::{
    evaluate::Value,
    plan::{Field, Filter, Test, TextOp},
};
use proptest::prelude::*;

use super::{
    Made, POLICIES, agree, by_this_program, draw, hook,
    sockets::{addresses, bytes, network, one},
};

/// Ports that datagrams are sent to. Sockets are bound there, so that no ICMP packet is an answer.
const PORTS: std::ops::Range<u16> = 9_001..9_006;

fn is(field: Field, value: i128) -> impl Strategy<Value = Filter> {
    any::<bool>().prop_map(move |negated| one(field, negated, value))
}

fn filters(argument: u8, addresses: &[IpAddr]) -> impl Strategy<Value = Filter> + 'static {
    prop_oneof![
        3 => (any::<bool>(), proptest::collection::vec(network(addresses), 1..4)).prop_map(move |(negated, networks)| Filter {
            field: Field::PacketDestination(argument),
            test: Test::Address { negated, networks },
        }),
        1 => prop_oneof![is(Field::PacketFamily(argument), 2), is(Field::PacketFamily(argument), 10)],
        1 => prop_oneof![is(Field::PacketProtocol(argument), 6), is(Field::PacketProtocol(argument), 17)],
        2 => (any::<bool>(), PORTS).prop_map(move |(negated, port)| one(Field::PacketDestinationPort(argument), negated, port.into())),
        1 => (any::<bool>(), 40_010_u16..40_013).prop_map(move |(negated, port)| one(Field::PacketSourcePort(argument), negated, port.into())),
    ]
}

/// What is known of a datagram. `ports`: whether it has the header with the ports.
fn datagram(argument: u8, from: u16, to: SocketAddr, ports: bool) -> Vec<(Field, Value)> {
    let number = |number: u16| Value::Int(i128::from(number));
    let mut values = vec![
        (Field::PacketDestination(argument), Value::Address(bytes(&to.ip()))),
        (Field::PacketFamily(argument), number(if to.is_ipv4() { 2 } else { 10 })),
        (Field::PacketProtocol(argument), number(17)),
    ];
    if ports {
        values.push((Field::PacketSourcePort(argument), number(from)));
        values.push((Field::PacketDestinationPort(argument), number(to.port())));
    }
    values
}

fn sockets(any: &str) -> Vec<(UdpSocket, u16)> {
    let bind = |port| (UdpSocket::bind((any, port)).expect("a socket"), port);
    (40_010..40_013).map(bind).collect()
}

/// Lets a socket send an IPv6 header of options for the destination (8 bytes of padding) before the datagram.
#[allow(unsafe_code, reason = "no maintained crate sets this option")]
fn send_extension_header(socket: &UdpSocket) {
    // Next header (the kernel writes it), length, PadN of four bytes: RFC 8200, 4.2.
    let options: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];
    // SAFETY: the pointer is to as many bytes as the call receives.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_DSTOPTS,
            options.as_ptr().cast(),
            8,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// The headers of datagrams: IPv4, and IPv6 with an extension header and without.
pub(in crate::vm) fn packets() {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses().into_iter().partition(IpAddr::is_ipv4);
    for (symbol, argument, any, addresses) in
        [("ip_send_skb", 1_u8, "0.0.0.0", v4), ("ip6_send_skb", 0, "::", v6)]
    {
        let _receivers: Vec<UdpSocket> =
            PORTS.map(|port| UdpSocket::bind((any, port)).expect("a socket")).collect();
        let sockets = sockets(any);
        if any == "::" {
            send_extension_header(&sockets[0].0);
        }
        agree(symbol, hook(symbol, false, false, filters(argument, &addresses)), POLICIES, |runner| {
            (0..80)
                .map(|_| {
                    let address = draw(runner, &proptest::sample::select(addresses.clone()));
                    let (from, port) = draw(runner, &(0..sockets.len(), PORTS));
                    let (socket, from) = &sockets[from];
                    socket.send_to(b"x", (address, port)).expect("sent");
                    Made::of(datagram(argument, *from, (address, port).into(), true))
                })
                .collect()
        });
    }
}

/// Parts of datagrams, of which only the first has ports, and the device that they leave by.
pub(in crate::vm) fn fragments() {
    const DEVICE: Field = Field::DeviceName(1);
    let addresses = addresses();
    let set_mtu = |mtu: &str| {
        let status = Command::new("ip").args(["link", "set", "lo", "mtu", mtu]).status();
        assert!(status.expect("ip runs").success());
    };
    set_mtu("1500");
    let own = by_this_program();
    let device = (any::<bool>(), prop_oneof![Just("lo"), Just("l"), Just("lo0"), Just("eth0")]).prop_map(
        |(negated, name)| Filter {
            field: DEVICE,
            test: Test::Text {
                negated,
                op: TextOp::Equal,
                values: vec![name.as_bytes().to_vec()],
                follow_children: false,
            },
        },
    );
    let filter = prop_oneof![4 => filters(0, &addresses), 1 => device];
    let hooks = hook("dev_hard_start_xmit", false, false, filter).prop_map(move |mut hook| {
        hook.selectors.iter_mut().for_each(|selector| selector.filters.push(own.clone()));
        hook
    });
    let receivers = |any: &str| -> Vec<UdpSocket> {
        PORTS.map(|port| UdpSocket::bind((any, port)).expect("a socket")).collect()
    };
    // One socket for both families.
    let _receivers = receivers("::");
    let sockets = sockets("::");
    agree("fragments", hooks, POLICIES, |runner| {
        let made = (0..40).map(|_| {
            let address = draw(runner, &proptest::sample::select(addresses.clone()));
            let (from, port, long) = draw(runner, &(0..sockets.len(), PORTS, any::<bool>()));
            let (socket, from) = &sockets[from];
            let written = match address {
                IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
                IpAddr::V6(_) => address,
            };
            socket.send_to(&vec![0; if long { 3_000 } else { 10 }], (written, port)).expect("sent");
            (0..if long { 3 } else { 1 })
                .map(|part| {
                    let mut values = datagram(0, *from, (address, port).into(), part == 0);
                    values.push((DEVICE, Value::Text(b"lo".to_vec())));
                    Made::of(values)
                })
                .collect::<Vec<_>>()
        });
        made.flatten().collect()
    });
    set_mtu("65536");
}
