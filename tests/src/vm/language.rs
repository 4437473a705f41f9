//! Parts of the language, with exact counts.

use std::{
    fs::{self, File, Permissions},
    io::Write as _,
    net::{Ipv4Addr, UdpSocket},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    process::Command,
};

use super::{CALLS, SETUID, make, policy, this};
use crate::{
    agent::{Agent, sum},
    pod,
    scrape::EVENTS,
};

/// Starts an agent with these policies, makes events, and compares the counts.
fn counts(policies: &[String], make: impl FnOnce(), expected: &[(&str, u64)]) {
    let agent = Agent::start(&[("p.yaml", &policies.concat())], &pod::list(&[]));
    make();
    let text = agent.metrics();
    for (policy, count) in expected {
        assert_eq!(sum(&text, EVENTS, &[("policy", policy)]), *count, "{policy}\n{text}\n{}", agent.log());
    }
}

/// `FileType` and `NotFileType`, on files and on paths. A pipe has no place in the tree: its path is a slash and the kernel's
/// name for it, which is empty.
pub(super) fn types_of_files() {
    let this = this().display().to_string();
    let writes = |filter: &str| {
        format!(
            "  - call: security_file_permission\n    syscall: false\n    args: [{{index: 0, type: file}}, {{index: 1, type: int}}]\n    \
             selectors:\n    - matchBinaries: [{{operator: In, values: [\"{this}\"]}}]\n      matchArgs: \
             [{{index: 1, operator: Equal, values: [\"2\"]}}, {filter}]"
        )
    };
    let null = "{index: 0, operator: Equal, values: [/dev/null]}";
    let chmod = |ty: &str| {
        format!(
            "  - call: security_path_chmod\n    syscall: false\n    args: [{{index: 0, type: path}}]\n    selectors:\n    - \
             matchBinaries: [{{operator: In, values: [\"{this}\"]}}]\n      matchArgs: [{{index: 0, operator: FileType, values: \
             [{ty}]}}]"
        )
    };
    let policies = [
        policy("pipes", &writes("{index: 0, operator: FileType, values: [pipe]}")),
        policy(
            "pipes-below-root",
            &writes(
                "{index: 0, operator: FileType, values: [pipe]}, {index: 0, operator: Prefix, values: [/]}",
            ),
        ),
        policy(
            "pipes-not-below-etc",
            &writes(
                "{index: 0, operator: FileType, values: [pipe]}, {index: 0, operator: NotPrefix, values: [/etc/]}",
            ),
        ),
        policy("devices", &writes(&format!("{null}, {{index: 0, operator: FileType, values: [chr, blk]}}"))),
        policy("regular", &writes(&format!("{null}, {{index: 0, operator: FileType, values: [reg, dir]}}"))),
        policy(
            "not-regular",
            &writes(&format!("{null}, {{index: 0, operator: NotFileType, values: [reg]}}")),
        ),
        policy("folders", &chmod("dir")),
        policy("files", &chmod("regular")),
    ];
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let file = folder.path().join("f");
    fs::write(&file, "x").expect("a file");
    let make = || {
        let (_read_end, mut pipe) = std::io::pipe().expect("a pipe");
        let mut null = File::options().write(true).open("/dev/null").expect("a device");
        for _ in 0..7 {
            pipe.write_all(b"x").expect("written");
        }
        for _ in 0..11 {
            null.write_all(b"x").expect("written");
        }
        for _ in 0..5 {
            fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("a mode");
        }
        for _ in 0..3 {
            fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("a mode");
        }
    };
    let expected = [
        ("pipes", 7),
        ("pipes-below-root", 7),
        ("pipes-not-below-etc", 7),
        ("devices", 11),
        ("regular", 0),
        ("not-regular", 11),
        ("folders", 5),
        ("files", 3),
    ];
    counts(&policies, make, &expected);
}

/// Sets of capabilities that are arguments, and `CapabilitiesGained`.
pub(super) fn capability_sets() {
    const CHOWN_AND_KILL: u64 = 1 << 0 | 1 << 5;
    const NET_RAW: u64 = 1 << 13;
    const SYSLOG: u64 = 1 << 34;
    let this = this().display().to_string();
    let capset = |name: &str, filter: &str| {
        let hook = format!(
            "  - call: security_capset\n    syscall: false\n    args: [{{index: 2, type: cap_effective}}, {{index: 3, type: \
             cap_inheritable}}, {{index: 4, type: kernel_cap_t}}]\n    selectors:\n    - matchBinaries: [{{operator: In, values: \
             [\"{this}\"]}}]\n      matchArgs: [{filter}]"
        );
        policy(name, &hook)
    };
    let policies = [
        capset("equal", "{index: 2, operator: Equal, values: [\"CAP_CHOWN,CAP_KILL\", \"0x2000\"]}"),
        capset("not-equal", "{index: 2, operator: NotEqual, values: [\"CAP_CHOWN,CAP_KILL\"]}"),
        capset("shares", "{index: 3, operator: Mask, values: [CAP_KILL, CAP_SYSLOG]}"),
        capset("greater", "{index: 3, operator: GT, values: [CAP_SYSLOG]}"),
        capset("less", "{index: 3, operator: LT, values: [CAP_SYSLOG]}"),
        capset("raised", "{operator: CapabilitiesGained, args: [0, 1]}"),
        capset("lowered", "{operator: CapabilitiesGained, args: [1, 0]}"),
        capset("beyond-permitted", "{operator: CapabilitiesGained, args: [2, 1]}"),
    ];
    let make = || {
        for _ in 0..7 {
            crate::calls::capset(CHOWN_AND_KILL, NET_RAW);
        }
        for _ in 0..11 {
            crate::calls::capset(NET_RAW, NET_RAW | SYSLOG);
        }
        for _ in 0..13 {
            crate::calls::capset(CHOWN_AND_KILL, CHOWN_AND_KILL);
        }
        crate::calls::capset_root();
    };
    let expected = [
        ("equal", 7 + 11 + 13),
        ("not-equal", 11 + 1),
        ("shares", 11 + 13),
        ("greater", 11),
        ("less", 7 + 13 + 1),
        ("raised", 7 + 11),
        ("lowered", 7 + 1),
        ("beyond-permitted", 0),
    ];
    counts(&policies, make, &expected);
}

/// Addresses in the memory of the kernel and of the program, and sockets behind a `struct socket`.
pub(super) fn socket_arguments() {
    let this = this().display().to_string();
    let on = |name: &str, point: &str, filters: &str| {
        let hook = format!(
            "  - {point}\n    selectors:\n    - matchBinaries: [{{operator: In, values: [\"{this}\"]}}]\n      matchArgs: [{filters}]"
        );
        policy(name, &hook)
    };
    let security = |name: &str, filters: &str| {
        let args = "[{index: 0, type: socket}, {index: 1, type: sockaddr}]";
        on(name, &format!("call: security_socket_connect\n    syscall: false\n    args: {args}"), filters)
    };
    let syscall = |name: &str, filters: &str| {
        on(name, "call: sys_connect\n    syscall: true\n    args: [{index: 1, type: sockaddr}]", filters)
    };
    let tracepoint = |name: &str, filters: &str| {
        let point =
            "subsystem: syscalls\n    event: sys_enter_connect\n    args: [{index: 6, type: sockaddr}]";
        on(name, point, filters).replace("kprobes:", "tracepoints:")
    };
    let policies = [
        security("address", "{index: 1, operator: SAddr, values: [127.0.0.4/30]}"),
        security("not-address", "{index: 1, operator: NotSAddr, values: [127.0.0.0/8]}"),
        security("port", "{index: 1, operator: SPort, values: [\"443\"]}"),
        security("privileged-port", "{index: 1, operator: SPortPriv}"),
        security("unix", "{index: 1, operator: Family, values: [AF_UNIX]}"),
        security("datagrams", "{index: 0, operator: Protocol, values: [IPPROTO_UDP]}"),
        security(
            "new-datagrams",
            "{index: 0, operator: State, values: [TCP_CLOSE]}, {index: 0, operator: Protocol, values: [IPPROTO_UDP]}",
        ),
        security(
            "connected",
            "{index: 0, operator: DAddr, values: [\"::1\"]}, {index: 0, operator: DPort, values: [\"443\"]}, {index: 0, \
             operator: State, values: [TCP_ESTABLISHED]}",
        ),
        security("unix-socket", "{index: 0, operator: Family, values: [AF_UNIX]}"),
        syscall("program-address", "{index: 1, operator: SAddr, values: [127.0.0.5, \"::1\"]}"),
        syscall("program-unix", "{index: 1, operator: Family, values: [AF_UNIX]}"),
        tracepoint("record", "{index: 6, operator: SPort, values: [\"81\"]}"),
    ];
    let make = || {
        for _ in 0..7 {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.connect("127.0.0.5:53").expect("connected");
        }
        for _ in 0..5 {
            let socket = UdpSocket::bind("[::1]:0").expect("a socket");
            socket.connect("[::1]:443").expect("connected");
            socket.connect("[::1]:444").expect("connected");
        }
        for _ in 0..3 {
            UnixStream::connect("/tmp/nothing-listens-here").expect_err("no such socket");
        }
        for _ in 0..2 {
            crate::calls::connect(Ipv4Addr::new(127, 0, 0, 6).into(), 81);
        }
    };
    let expected = [
        ("address", 7 + 2),
        ("not-address", 10 + 3),
        ("port", 5),
        ("privileged-port", 7 + 10 + 2),
        ("unix", 3),
        ("datagrams", 7 + 10),
        ("new-datagrams", 7 + 5),
        ("connected", 5),
        ("unix-socket", 3),
        ("program-address", 7 + 10),
        ("program-unix", 3),
        ("record", 2),
    ];
    counts(&policies, make, &expected);
}

/// Capabilities that count outside of the host's user namespace alone.
pub(super) fn capabilities_of_a_namespace() {
    let this = this().display().to_string();
    let hook = |name: &str, operator: &str, value: &str| {
        let filter = format!(
            "matchCapabilities: [{{operator: {operator}, values: [{value}], isNamespaceCapability: true}}]\n      matchBinaries: \
             [{{operator: In, values: [\"{this}\"]}}]"
        );
        policy(name, &format!("{SETUID}\n    selectors:\n    - {filter}"))
    };
    let policies = [hook("has", "In", "CAP_SYS_ADMIN"), hook("has-not", "NotIn", "CAP_SYS_ADMIN")];
    let make = || {
        crate::calls::setuid_root(10);
        let script = format!(
            "unshare --user --map-root-user {this} {CALLS} setuid 100; unshare --user --map-root-user setpriv --bounding-set \
             -sys_admin {this} {CALLS} setuid 1000"
        );
        assert!(Command::new("sh").args(["-c", &script]).status().expect("a shell").success());
    };
    counts(&policies, make, &[("has", 100), ("has-not", 1_000)]);
}

/// `args` of a filter are positions in the hook's list.
pub(super) fn positions() {
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let file = folder.path().join("f");
    fs::write(&file, "x").expect("a file");
    let hook = |mask: &str| {
        format!(
            "  - call: security_file_permission\n    syscall: false\n    args: [{{index: 1, type: int}}, {{index: 0, type: file}}]\n    \
             selectors:\n    - matchArgs: [{{args: [0], operator: Equal, values: [\"{mask}\"]}}, {{args: [1], operator: Equal, \
             values: [\"{}\"]}}]",
            file.display()
        )
    };
    let policies = [policy("reads", &hook("4")), policy("writes", &hook("2"))];
    let make = || crate::calls::pread(&File::open(&file).expect("a file"), 9);
    counts(&policies, make, &[("reads", 9), ("writes", 0)]);
}

/// More than Tetragon evaluates: several entries, which must all hold, five ids, and ancestors.
pub(super) fn process_ids() {
    let me = std::process::id();
    let this = this().display().to_string();
    let hook = |filters: &str| format!("{SETUID}\n    selectors:\n    - matchPIDs: [{filters}]");
    let policies = [
        policy(
            "both",
            &hook(&format!(
                "{{operator: In, values: [1, {me}]}}, {{operator: NotIn, isNamespacePID: true, values: [1]}}"
            )),
        ),
        policy(
            "neither",
            &hook(&format!(
                "{{operator: In, values: [{me}]}}, {{operator: NotIn, isNamespacePID: true, values: [{me}]}}"
            )),
        ),
        policy("five", &hook(&format!("{{operator: In, values: [1, 2, 3, 4, {me}]}}"))),
        policy("below-me", &hook(&format!("{{operator: In, values: [{me}], followForks: true}}"))),
        policy("not-below-me", &hook(&format!("{{operator: NotIn, values: [{me}], followForks: true}}"))),
        policy(
            "below-another-namespace",
            &hook("{operator: In, values: [0], isNamespacePID: true, followForks: true}"),
        ),
    ];
    let make = || {
        crate::calls::setuid_root(10);
        let script = format!("{this} {CALLS} setuid 100; unshare --pid --fork {this} {CALLS} setuid 1000");
        assert!(Command::new("sh").args(["-c", &script]).status().expect("a shell").success());
    };
    let expected = [
        ("both", 10),
        ("neither", 0),
        ("five", 10),
        ("below-me", 1_110),
        ("not-below-me", 0),
        ("below-another-namespace", 1_000),
    ];
    counts(&policies, make, &expected);
}

/// With `policy-mode: monitor` nothing is killed, and what would have been is counted.
pub(super) fn monitor_mode() {
    let hook = "  - call: __sys_setgid\n    syscall: false\n    args: [{index: 0, type: uint32}]\n    selectors:\n    - \
                matchArgs: [{index: 0, operator: Equal, values: [\"7\"]}]\n      matchActions: [{action: Sigkill}]";
    let monitored = super::monitoring(&policy("monitored", hook));
    counts(&[monitored], || make("setgid", "30"), &[("monitored", 30)]);
}
