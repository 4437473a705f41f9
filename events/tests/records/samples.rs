//! One record of each kind, and one argument of each type. The functions and arguments are those that Tetragon's
//! reader prints in a form of its own, as far as it has one.

use gatewatch_events::{
    Action, Argument, Container, Event, Image, Pod, Process, Timestamp, Value,
    argument::objects::Sock,
    event::{Body, Exec, Exit, RateLimitInfo},
    hook::{
        Incomplete, Kprobe, Loader, Lsm, Match, Mode, Processes, Selector, StackEntry, Tracepoint, Uprobe,
        Usdt,
    },
    pod::SecurityContext,
    process::{
        BinaryProperties, FileProperties, InodeProperties, Namespace, Namespaces, PodStatus,
        PrivilegesChanged, UserRecord, Variable, docker, exec_id, join_arguments,
    },
};

use crate::{
    parts::{capabilities, credentials, file, namespace, text},
    values::{map, perf_event, program, values},
};

const NODE: &str = "node-a";
const START: i64 = 1_767_323_045_678_901_234;
const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn pod() -> Pod {
    let digest = "sha256:".to_owned() + CONTAINER;
    Pod {
        namespace: "web".to_owned(),
        name: "api-7d4b9c-x2x7z".to_owned(),
        uid: "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed".to_owned(),
        container: Some(Box::new(Container {
            id: format!("containerd://{CONTAINER}"),
            name: "api".to_owned(),
            image: Some(Image::new(&format!("registry.example/api@{digest}"), "registry.example/api:1.2")),
            start_time: Some(Timestamp(1_767_323_000_000_000_000)),
            pid: Some(7),
            maybe_exec_probe: true,
            security_context: Some(SecurityContext { privileged: true }),
        })),
        pod_labels: [("app".to_owned(), "api".to_owned())].into(),
        workload: "api".to_owned(),
        workload_kind: "Deployment".to_owned(),
        pod_annotations: [("example.org/team".to_owned(), "shop".to_owned())].into(),
    }
}

fn in_pod() -> Process {
    let arguments: [&[u8]; 3] = [b"-c", b"echo a b", b"caf\xc3\xa9\n\xff"];
    Process {
        exec_id: exec_id(NODE, 1_234_567_890_123, 42),
        pid: Some(42),
        uid: Some(0),
        cwd: "/srv".to_owned(),
        binary: "/bin/sh".to_owned(),
        arguments: join_arguments(arguments),
        flags: "execve clone".to_owned(),
        start_time: Some(Timestamp(START)),
        auid: Some(u32::MAX),
        pod: Some(Box::new(pod())),
        docker: docker(CONTAINER).to_owned(),
        parent_exec_id: exec_id(NODE, 1_000_000_000_000, 41),
        tid: Some(42),
        in_init_tree: Some(false),
        ..Process::default()
    }
}

fn on_host(pod_status: PodStatus) -> Process {
    Process {
        exec_id: exec_id(NODE, 1_000_000_000_000, 41),
        pid: Some(41),
        uid: Some(1000),
        binary: "/usr/bin/containerd-shim".to_owned(),
        flags: "procFS".to_owned(),
        start_time: Some(Timestamp(1_767_322_000_000_000_000)),
        auid: Some(1000),
        pod_status,
        tid: Some(41),
        in_init_tree: Some(false),
        ..Process::default()
    }
}

fn processes() -> Processes {
    Processes {
        process: in_pod(),
        parent: Some(Box::new(on_host(PodStatus::Host))),
        ancestors: Vec::new(),
        incomplete: Vec::new(),
    }
}

fn matched() -> Match {
    Match { policy_name: "evidence".to_owned(), action: Action::Post, ..Match::default() }
}

fn sock() -> Sock {
    Sock {
        family: "AF_INET".to_owned(),
        kind: "SOCK_STREAM".to_owned(),
        protocol: "IPPROTO_TCP".to_owned(),
        mark: 1,
        priority: 2,
        saddr: "10.0.0.1".to_owned(),
        daddr: "10.0.0.2".to_owned(),
        sport: 40_000,
        dport: 443,
        cookie: 18_446_612_345_678_901_234,
        state: "TCP_SYN_SENT".to_owned(),
    }
}

fn kprobe(function: &str, values: impl IntoIterator<Item = Value>) -> Kprobe {
    Kprobe {
        processes: processes(),
        function_name: function.to_owned(),
        args: values.into_iter().map(Argument::new).collect(),
        matched: matched(),
        return_action: Action::Post,
        ..Kprobe::default()
    }
}

/// Every record, numbered.
pub(crate) fn all() -> Vec<Event> {
    let mut bodies = vec![exec(), exit(), full()];
    bodies.extend(functions().into_iter().map(|body| Body::ProcessKprobe(Box::new(body))));
    bodies.extend(
        values().into_iter().map(|value| {
            Body::ProcessKprobe(Box::new(kprobe("security_bprm_check", [value, text("after")])))
        }),
    );
    bodies.extend(others());
    let event = |(index, body)| {
        let mut event = Event::new(
            body,
            Timestamp(START + 1_000_000_000 + i64::try_from(index).unwrap_or_default() * 1_000),
        );
        NODE.clone_into(&mut event.node_name);
        event.seq = index as u64 + 1;
        event.agent_start = Some(Timestamp(1_767_320_000_000_000_000));
        event
    };
    let mut events: Vec<Event> = bodies.into_iter().enumerate().map(event).collect();
    "prod".clone_into(&mut events[0].cluster_name);
    events[0].node_labels = [("zone".to_owned(), "a".to_owned())].into();
    // `tetra -o compact` ends at this one.
    events.push(Event {
        time: None,
        ..Event::new(
            Body::RateLimitInfo(RateLimitInfo { number_of_dropped_process_events: 12 }),
            Timestamp(0),
        )
    });
    events
}

fn exec() -> Body {
    let mut processes = processes();
    let process = &mut processes.process;
    process.cap = Some(capabilities());
    let ns = Some(namespace());
    process.ns = Some(Box::new(Namespaces {
        uts: ns,
        ipc: ns,
        mnt: Some(Namespace { inum: 4_026_532_700, is_host: false }),
        pid: ns,
        pid_for_children: ns,
        net: ns,
        time: ns,
        time_for_children: ns,
        cgroup: ns,
        user: ns,
    }));
    process.process_credentials = Some(Box::new(credentials()));
    let inode = Some(InodeProperties { number: u64::MAX, links: Some(0) });
    process.binary_properties = Some(Box::new(BinaryProperties {
        setuid: Some(0),
        setgid: Some(0),
        privileges_changed: vec![PrivilegesChanged::FileCapabilities, PrivilegesChanged::SetUserId],
        file: Some(FileProperties { inode, path: "/memfd:x".to_owned() }),
    }));
    process.user = Some(UserRecord { name: "root".to_owned() });
    process.environment_variables = vec![Variable { key: "HOME".to_owned(), value: "/root".to_owned() }];
    processes.ancestors = vec![on_host(PodStatus::Host)];
    Body::ProcessExec(Box::new(Exec { processes }))
}

fn exit() -> Body {
    let mut processes = processes();
    processes.process = on_host(PodStatus::Unresolved);
    processes.incomplete = vec![Incomplete::Pod, Incomplete::Parent];
    Body::ProcessExit(Box::new(Exit {
        processes,
        signal: "SIGKILL".to_owned(),
        status: 9,
        time: Some(Timestamp(START)),
    }))
}

/// A call with everything that a record can have.
fn full() -> Body {
    let entry = |symbol: &str, module: &str| StackEntry {
        address: u64::MAX,
        offset: 16,
        symbol: symbol.to_owned(),
        module: module.to_owned(),
    };
    let mut body = kprobe("tcp_connect", [Value::Sock(Box::new(sock()))]);
    "connection".clone_into(&mut body.args[0].label);
    body.return_value = Some(Argument::new(Value::Int(0)));
    body.data = vec![Argument::new(Value::Uint(0))];
    body.matched = Match {
        policy_namespace: "web".to_owned(),
        selector: Some(Selector {
            hook: "spec.kprobes[3]".to_owned(),
            index: Some(0),
            label: "outside".to_owned(),
        }),
        action: Action::Sigkill,
        mode: Some(Mode::Monitor),
        message: "Connection to the outside".to_owned(),
        tags: vec!["network".to_owned(), "mitre.T1071".to_owned()],
        ..matched()
    };
    body.kernel_stack_trace = vec![entry("tcp_connect", ""), entry("__sys_connect", "")];
    body.user_stack_trace = vec![entry("connect", "/lib/x86_64-linux-gnu/libc.so.6")];
    Body::ProcessKprobe(Box::new(body))
}

/// The functions that Tetragon's reader knows.
fn functions() -> Vec<Kprobe> {
    let opened = || Value::File(file("/etc/passwd"));
    let path = || Value::Path(file("/etc/shadow"));
    let sock = || Value::Sock(Box::new(sock()));
    vec![
        kprobe("__x64_sys_write", [opened(), Value::Bytes(b"x\n".to_vec()), Value::Size(2)]),
        kprobe("__x64_sys_read", [opened(), Value::Bytes(Vec::new()), Value::Size(0)]),
        kprobe("fd_install", [Value::Int(3), opened()]),
        kprobe("__x64_sys_openat", [Value::Int(-100), text("/etc/hosts"), Value::Int(0)]),
        kprobe("__x64_sys_close", [opened()]),
        kprobe("__x64_sys_mount", [text("/dev/sda1"), text("/mnt")]),
        kprobe("__x64_sys_setuid", [Value::Int(0)]),
        kprobe("__x64_sys_setns", [Value::Int(3), Value::Int(0x4000_0000)]),
        kprobe("__x64_sys_clock_settime", [Value::Int(0)]),
        kprobe("tcp_close", [sock()]),
        kprobe("tcp_sendmsg", [sock(), Value::Int(512)]),
        kprobe("bpf_check", [Value::BpfAttr(program())]),
        kprobe("security_perf_event_alloc", [Value::PerfEvent(perf_event())]),
        kprobe("security_bpf_map_alloc", [Value::BpfMap(map())]),
        kprobe("security_file_permission", [opened(), Value::Int(2)]),
        kprobe("security_mmap_file", [opened(), Value::Uint(4), Value::Uint(1)]),
        kprobe("security_path_truncate", [path()]),
        kprobe("security_file_truncate", [opened()]),
        kprobe("commit_creds", []),
    ]
}

fn others() -> Vec<Body> {
    let (processes, matched) = (processes(), matched());
    let args = |values: Vec<Value>| values.into_iter().map(Argument::new).collect();
    let tracepoint = |subsys: &str, event: &str, values| {
        Body::ProcessTracepoint(Box::new(Tracepoint {
            processes: processes.clone(),
            subsys: subsys.to_owned(),
            event: event.to_owned(),
            args: args(values),
            matched: matched.clone(),
        }))
    };
    let uprobe = Uprobe {
        processes: processes.clone(),
        path: "/bin/bash".to_owned(),
        symbol: "readline".to_owned(),
        ref_ctr_offset: 1 << 40,
        args: args(vec![text("ls")]),
        matched: matched.clone(),
        ..Uprobe::default()
    };
    let at_offset = Uprobe { symbol: String::new(), offset: 4096, ..uprobe.clone() };
    let at_address = Uprobe { symbol: String::new(), address: 4096, ..uprobe.clone() };
    vec![
        tracepoint("raw_syscalls", "sys_enter", vec![Value::Long(1), Value::Size(3)]),
        tracepoint("sched", "sched_process_exec", vec![text("/bin/sh"), Value::Int(42)]),
        Body::ProcessUprobe(Box::new(uprobe)),
        Body::ProcessUprobe(Box::new(at_offset)),
        Body::ProcessUprobe(Box::new(at_address)),
        Body::ProcessUsdt(Box::new(Usdt {
            processes: processes.clone(),
            path: "/usr/bin/python3".to_owned(),
            provider: "python".to_owned(),
            name: "gc__start".to_owned(),
            args: args(vec![Value::Int(2)]),
            matched: matched.clone(),
            ..Usdt::default()
        })),
        Body::ProcessLsm(Box::new(Lsm {
            processes: processes.clone(),
            function_name: "bprm_check_security".to_owned(),
            args: args(vec![Value::LinuxBinprm(file("/bin/sh"))]),
            matched,
            ima_hash: format!("sha256:{CONTAINER}"),
        })),
        Body::ProcessLoader(Box::new(Loader {
            processes,
            path: "/lib/x86_64-linux-gnu/libc.so.6".to_owned(),
            buildid: vec![0xde, 0xad, 0xbe, 0xef],
        })),
    ]
}
