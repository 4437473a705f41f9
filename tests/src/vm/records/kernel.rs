//! What the BPF programs write, without the agent around them.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::Ipv4Addr,
    process::Command,
};

use gatewatch_abi::{
    RecordSock,
    record::consts::{ARG_CUT, RECORD_EXEC, RECORD_EXIT, RECORD_FORK, RECORD_HOOK, WRITTEN},
};
use gatewatch_agent::{
    bpf::{RecordLimits, Ring},
    records::decode,
};

use crate::kernel::{Kernel, Way};

/// A value that was recorded.
#[derive(Clone, Debug, PartialEq)]
struct Value {
    class: u32,
    status: u16,
    of: u64,
    bytes: Vec<u8>,
}

impl Value {
    fn number(&self) -> u64 {
        u64::from_le_bytes(self.bytes[..8].try_into().expect("eight bytes"))
    }

    fn text(&self) -> &str {
        assert_eq!(self.status, 0, "{self:?}");
        std::str::from_utf8(&self.bytes).expect("text")
    }

    fn sock(&self) -> RecordSock {
        bytemuck::pod_read_unaligned(&self.bytes[..size_of::<RecordSock>()])
    }
}

/// A record of this process: its kind, its policy, its values.
#[derive(Clone, Debug)]
struct Seen {
    kind: u32,
    policy: String,
    pid: u32,
    selector: u32,
    values: Vec<Value>,
}

/// Takes all records out of the ring buffer.
fn all(kernel: &Kernel, ring: &mut Ring) -> Vec<Seen> {
    let hooks = kernel.engine.recorded_hooks();
    let mut seen = Vec::new();
    while ring.next(|bytes| {
        let record = decode(bytes).expect("a record");
        assert_eq!(record.head.size as usize, bytes.len(), "{:?}", record.head);
        let policy = match record.head.kind {
            RECORD_HOOK => hooks[&record.head.hook].policy.name.clone(),
            _ => String::new(),
        };
        let values = record.args.iter();
        seen.push(Seen {
            kind: record.head.kind,
            policy,
            pid: record.head.pid,
            selector: record.head.selector,
            values: values
                .map(|value| Value {
                    class: value.class,
                    status: value.status,
                    of: value.of,
                    bytes: value.bytes.to_vec(),
                })
                .collect(),
        });
    }) {}
    seen
}

/// Those of a policy, in this process.
fn of<'a>(seen: &'a [Seen], policy: &str) -> Vec<&'a Seen> {
    let own = std::process::id();
    seen.iter().filter(|seen| seen.policy == policy && seen.pid == own).collect()
}

const POLICIES: &str = "apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: number}
spec:
  kprobes:
  - call: __sys_setgid
    syscall: false
    args: [{index: 0, type: uint32}]
    selectors:
    - matchArgs: [{index: 0, operator: Equal, values: ['8']}]
      matchActions: [{action: NoPost}]
    - matchArgs: [{index: 0, operator: NotEqual, values: ['9']}]
---
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: result}
spec:
  kprobes:
  - call: __sys_setgid
    syscall: false
    return: true
    returnArg: {index: 0, type: int}
---
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: string}
spec:
  kprobes:
  - call: sys_chdir
    args: [{index: 0, type: string}]
---
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: bytes}
spec:
  kprobes:
  - call: sys_write
    args: [{index: 0, type: fd}, {index: 1, type: char_buf, sizeArgIndex: 3}, {index: 2, type: size_t}]
    selectors:
    - matchArgs: [{index: 2, operator: Equal, values: ['5', '5000']}]
---
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: file}
spec:
  kprobes:
  - call: security_file_permission
    syscall: false
    args: [{index: 0, type: file}, {index: 1, type: int}]
    selectors:
    - matchArgs: [{index: 0, operator: Postfix, values: ['recorded']}]
---
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: socket}
spec:
  kprobes:
  - call: security_socket_connect
    syscall: false
    args: [{index: 0, type: socket}, {index: 1, type: sockaddr}, {index: 2, type: int}]
---
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: sock}
spec:
  kprobes:
  - call: tcp_connect
    syscall: false
    args: [{index: 0, type: sock}]
---
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: tracepoint}
spec:
  tracepoints:
  - subsystem: syscalls
    event: sys_enter_chdir
    args: [{index: 5, type: string}]
---
";

/// Every kind of value, in whichever way the hooks are attached.
pub(in crate::vm) fn in_the_kernel() {
    for way in Way::all() {
        let mut kernel = Kernel::load_recording(way, RecordLimits::default());
        let mut ring = kernel.engine.bpf_mut().take_ring().expect("a ring buffer");
        let plans = kernel.compile(POLICIES);
        let failed = kernel.apply(plans);
        assert!(failed.is_empty(), "{way:?}: {failed:?}");
        for (name, instructions) in kernel.engine.bpf().verified_instructions() {
            if name.contains("record") {
                println!("{way:?}: {name} {instructions}");
                assert!(instructions <= 750_000, "{name}: {instructions}");
            }
        }
        all(&kernel, &mut ring);
        values(&kernel, &mut ring);
        processes(&kernel, &mut ring);
    }
}

fn values(kernel: &Kernel, ring: &mut Ring) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("recorded");
    crate::calls::setgid(7, 2);
    crate::calls::setgid(8, 1);
    crate::calls::setgid(9, 1);
    crate::calls::setgid(0, 1);
    std::env::set_current_dir(folder.path()).expect("a directory");
    std::env::set_current_dir("/").expect("a directory");
    let mut file = File::create(&path).expect("a file");
    file.write_all(b"hello").expect("written");
    file.write_all(&[b'x'; 5_000]).expect("written");
    drop(file);
    File::open(&path).expect("a file").read_exact(&mut [0; 3]).expect("read");
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connected"));
    let seen = all(kernel, ring);

    let numbers: Vec<u64> =
        of(&seen, "number").iter().map(|seen| seen.values[0].number() & 0xffff_ffff).collect();
    assert_eq!(numbers, [7, 7, 0], "{seen:?}");
    assert!(of(&seen, "number").iter().all(|seen| seen.selector == 1));
    assert_eq!(kernel.ledger("number")[WRITTEN as usize], 3);
    assert_eq!(kernel.counts()["number"], 3);
    let results: Vec<u64> =
        of(&seen, "result").iter().map(|seen| seen.values[0].number() & 0xffff_ffff).collect();
    assert_eq!(results, [0; 5]);

    for policy in ["string", "tracepoint"] {
        let texts: Vec<&str> = of(&seen, policy).iter().map(|seen| seen.values[0].text()).collect();
        assert_eq!(texts, [folder.path().to_str().expect("text"), "/"], "{policy}");
    }
    let path = path.to_str().expect("text");
    let written = of(&seen, "bytes");
    assert_eq!(written.len(), 2, "{written:?}");
    assert_eq!((written[0].values[0].text(), written[0].values[1].text()), (path, "hello"));
    assert_eq!(written[0].values[2].number(), 5);
    let cut = &written[1].values[1];
    assert_eq!((cut.status, cut.bytes.len(), cut.of), (ARG_CUT, 4_095, 5_000));

    let touched = of(&seen, "file");
    let masks: Vec<u64> = touched.iter().map(|seen| seen.values[1].number() & 0xffff_ffff).collect();
    assert_eq!(masks, [2, 2, 4], "two writes and a read");
    assert!(touched.iter().all(|seen| seen.values[0].text() == path), "{touched:?}");

    let connected = of(&seen, "socket");
    let (socket, address) = (connected[0].values[0].sock(), connected[0].values[1].sock());
    assert_eq!((socket.family, socket.ty, socket.protocol), (2, 1, 6));
    assert_eq!((address.family, address.source_port), (2, port));
    assert_eq!(address.source[..4], [127, 0, 0, 1]);
    assert_eq!(connected[0].values[2].number() & 0xffff_ffff, 16);
    let sock = of(&seen, "sock")[0].values[0].sock();
    assert_eq!(
        (sock.family, sock.destination_port, sock.destination[..4].to_vec()),
        (2, port, vec![127, 0, 0, 1])
    );
    assert_ne!(sock.source_port, 0);
}

fn processes(kernel: &Kernel, ring: &mut Ring) {
    all(kernel, ring);
    let status =
        Command::new("/bin/sh").args(["-c", "exit 3"]).current_dir("/tmp").status().expect("a shell");
    assert_eq!(status.code(), Some(3));
    let mut seen = all(kernel, ring);
    seen.retain(|seen| seen.kind != RECORD_HOOK);
    let executed = seen
        .iter()
        .find(|seen| seen.kind == RECORD_EXEC && seen.values[0].text() == "/bin/sh")
        .unwrap_or_else(|| panic!("{seen:?}"));
    assert_eq!(executed.values[1].text(), "/tmp");
    assert_eq!(executed.values[2].bytes, b"/bin/sh\0-c\0exit 3\0");
    let kinds: Vec<u32> = seen
        .iter()
        .filter(|seen| [executed.pid, std::process::id()].contains(&seen.pid))
        .map(|seen| seen.kind)
        .collect();
    assert_eq!(kinds, [RECORD_FORK, RECORD_EXEC, RECORD_EXIT], "{seen:?}");
    let ended = seen.iter().find(|seen| seen.kind == RECORD_EXIT).expect("an end");
    assert_eq!((ended.pid, ended.selector), (executed.pid, 3 << 8));
}
