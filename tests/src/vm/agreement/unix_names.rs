//! Filters on the names of Unix sockets.

use std::{
    net::UdpSocket,
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::net::UnixDatagram,
    },
};

use gatewatch_policy::{
    evaluate::Value,
    plan::{Field, Filter, SocketPart, Test, TextOp},
};
use proptest::{prelude::*, test_runner::TestRunner};

use super::{Made, POLICIES, agree, draw, hook};

const NAME: Field = Field::UnixName { index: 1, length: Some(2) };
const FAMILY: Field = Field::Sockaddr { index: 1, part: SocketPart::Family };
/// Bytes before the name in a `struct sockaddr_un`.
const HEAD: usize = 2;
/// Bytes of the longest name.
const LONGEST: usize = 108;

/// `connect` to an address of so many bytes.
#[allow(unsafe_code, reason = "std and rustix give no control of the bytes behind a name")]
fn connect(socket: RawFd, address: &[u8], length: usize) {
    assert!(length <= address.len());
    let length = libc::socklen_t::try_from(length).expect("a length");
    // SAFETY: the address has at least as many bytes as the call's length. It is packed as the structure is.
    unsafe { libc::connect(socket, address.as_ptr().cast(), length) };
}

/// Names of many forms: with its NUL and without, filled with zeros or followed by other bytes, abstract ones, the longest, and
/// none.
fn event(runner: &mut TestRunner, unix: &UnixDatagram) -> Made {
    let names = ["/tmp/none/a", "/tmp/none/ab", "/run/none", "none", "tetragon"];
    let longest: String = std::iter::repeat_n('n', LONGEST).collect();
    let names: Vec<String> = names.map(str::to_owned).into_iter().chain([longest]).collect();
    let (name, form, abstract_name) = draw(runner, &(proptest::sample::select(names), 0..5, any::<bool>()));
    let mut address = vec![0_u8; HEAD + LONGEST];
    address[..HEAD].copy_from_slice(&1_u16.to_ne_bytes());
    let first = HEAD + usize::from(abstract_name);
    let kept = name.len().min(address.len() - first);
    address[first..first + kept].copy_from_slice(&name.as_bytes()[..kept]);
    let end = first + kept;
    let length = match form {
        // No name at all.
        0 => HEAD,
        1 => end,
        2 => (end + 1).min(address.len()),
        3 => address.len(),
        // What follows is not a part of the address.
        _ => {
            address[end..].fill(b'x');
            end
        }
    };
    connect(unix.as_raw_fd(), &address, length);
    let mut values = vec![(FAMILY, Value::Int(1))];
    if form != 0 {
        values.push((NAME, Value::Text(name.as_bytes()[..kept].to_vec())));
    }
    Made::of(values)
}

/// In the kernel's memory and in the program's.
pub(in crate::vm) fn unix_names() {
    let values = prop_oneof![
        proptest::sample::subsequence(
            vec!["/tmp", "/tmp/none/a", "/run/", "tetra", "n", "nnnnnnnnnnnn"],
            1..4
        )
        .prop_map(|values| (TextOp::Prefix, values)),
        proptest::sample::subsequence(vec!["/tmp/none/a", "none", "tetragon", "tetragonx", "/tmp"], 1..3)
            .prop_map(|values| (TextOp::Equal, values)),
    ];
    let filter = || {
        prop_oneof![
            4 => (any::<bool>(), values.clone()).prop_map(|(negated, (op, values))| Filter {
                field: NAME,
                test: Test::Text {
                    negated,
                    op,
                    values: values.into_iter().map(|value| value.as_bytes().to_vec()).collect(),
                    follow_children: false,
                },
            }),
            1 => (any::<bool>(), prop_oneof![Just(1_i128), Just(2)]).prop_map(|(negated, family)| Filter {
                field: FAMILY,
                test: Test::Int { negated, ranges: vec![(family, family)] },
            }),
        ]
    };
    let unix = UnixDatagram::unbound().expect("a socket");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let events = |runner: &mut TestRunner| {
        let made = (0..60).map(|_| {
            if draw(runner, &proptest::bool::weighted(0.9)) {
                return event(runner, &unix);
            }
            udp.connect("127.0.0.1:9").expect("connected");
            Made::of([(FAMILY, Value::Int(2))])
        });
        made.collect::<Vec<_>>()
    };
    agree("name in the kernel", hook("security_socket_connect", false, false, filter()), POLICIES, events);
    let symbol = crate::kernel::host().profile.syscall_symbol("sys_connect");
    agree("name in the program", hook(&symbol, true, false, filter()), POLICIES, events);
}
