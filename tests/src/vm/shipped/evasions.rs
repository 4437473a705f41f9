//! Other ways to do what the shipped policies watch. Each is counted as well, once.

use std::{
    fs::{self, Permissions},
    net::UdpSocket,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use super::{CALLS, ID, UID, shell, this};
use crate::{
    agent::{Agent, sum},
    calls,
    pod::Container,
    scrape::EVENTS,
};

const FILES: &str = "application-file-system-access";
const NETWORK: &str = "external-http-call";

/// What a process of ours does that was started as `--calls evade WORDS…`.
pub(in crate::vm) fn make(words: &[&str]) {
    match words {
        // Changes a file's mode from within a new root.
        ["chroot", root, file] => {
            rustix::process::chroot(*root).expect("chroot");
            rustix::process::chdir("/").expect("chdir");
            fs::set_permissions(file, Permissions::from_mode(0o600)).expect("chmod");
        }
        ["map-shared", file] => calls::map_shared(Path::new(file)),
        ["capset-32"] => calls::capset_by_32_bits(),
        ["read-compressed-module", file] => calls::read_compressed_module(Path::new(file)),
        ["datagrams", inside, v4, v6] => datagrams(inside, v4, v6),
        other => panic!("no way {other:?}"),
    }
}

/// Three datagrams to the IPv4 address, of which one by a connected socket, two to the IPv6 address, two inside.
fn datagrams(inside: &str, v4: &str, v6: &str) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    for to in [v4, v4, inside] {
        socket.send_to(b"x", (to, 9)).expect("sent");
    }
    for to in [v4, inside] {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        socket.connect((to, 9)).expect("connected");
        socket.send(b"x").expect("sent");
    }
    let socket = UdpSocket::bind("[::]:0").expect("a socket");
    for to in [v6, v6, "::1"] {
        socket.send_to(b"x", (to, 9)).expect("sent");
    }
}

/// Evasions in the pod that the application policies select. `agent` runs them; no part makes events that another one counts.
pub(super) fn of_pod(agent: &Agent) {
    let container = Container::create(UID, ID).expect("a cgroup");
    for part in [truncation, sources, mapping, another_root, datagram] {
        part(agent, &container);
    }
    container.remove().expect("removed");
}

/// Runs a line of the shell in the pod that the file policy selects.
fn run(container: &Container, argv: &[&str]) {
    let output = container.run(&this(), argv).expect("it runs");
    assert!(output.status.success(), "{argv:?}: {output:?}");
}

/// Runs [`make`] in that pod.
fn evade(container: &Container, words: &[&str]) {
    let program = this().display().to_string();
    run(container, &[&[&program, CALLS, "evade"], words].concat());
}

/// The pod's events of a program.
fn count(agent: &Agent, policy: &str, binary: &str, hooks: &[&str]) -> u64 {
    let text = agent.metrics();
    let of = |hook: &&str| {
        let hook = format!("kprobe:{hook}");
        let labels = [("policy", policy), ("binary", binary), ("hook", &hook), ("pod", "tiefighter")];
        sum(&text, EVENTS, &labels)
    };
    hooks.iter().map(of).sum()
}

/// A file's length is set to 0 as it is opened, and by both system calls.
fn truncation(agent: &Agent, container: &Container) {
    for line in [": > /etc/gw-file", "truncate --size 5 /etc/gw-file"] {
        fs::write("/etc/gw-file", "content").expect("a file");
        run(container, &["/bin/sh", "-c", line]);
    }
    let hooks = ["security_path_truncate", "security_file_truncate"];
    assert_eq!(count(agent, FILES, "/usr/bin/dash", &hooks), 1, "{}", agent.metrics());
    assert_eq!(count(agent, FILES, "/usr/bin/truncate", &hooks), 1, "{}", agent.metrics());
}

/// A watched directory itself is renamed, and a file gets a name elsewhere.
fn sources(agent: &Agent, container: &Container) {
    fs::create_dir_all("/root/.ssh").expect("a folder");
    fs::write("/root/.ssh/authorized_keys", "key").expect("a file");
    let renamed = || count(agent, FILES, "/usr/bin/mv", &["security_path_rename"]);
    let linked = || count(agent, FILES, "/usr/bin/ln", &["security_path_link"]);
    run(container, &["mv", "/root/.ssh", "/root/other"]);
    assert_eq!(renamed(), 1, "away: {}", agent.metrics());
    run(container, &["mv", "/root/other", "/root/.ssh"]);
    assert_eq!(renamed(), 2, "back: {}", agent.metrics());
    run(container, &["ln", "/root/.ssh/authorized_keys", "/gw-link"]);
    assert_eq!(linked(), 1, "{}", agent.metrics());
    // Neither is watched.
    run(container, &["mv", "/gw-link", "/gw-name"]);
    run(container, &["ln", "/gw-name", "/gw-link"]);
    assert_eq!((renamed(), linked()), (2, 1), "{}", agent.metrics());
}

/// A file below /usr is written through memory.
fn mapping(agent: &Agent, container: &Container) {
    fs::write("/usr/lib/gw-file", "content").expect("a file");
    evade(container, &["map-shared", "/usr/lib/gw-file"]);
    let this = this().display().to_string();
    assert_eq!(count(agent, FILES, &this, &["security_mmap_file"]), 1, "{}", agent.metrics());
}

/// Roots inside the container's: a directory, and a mount.
fn another_root(agent: &Agent, container: &Container) {
    fs::write("/etc/gw-file", "content").expect("a file");
    fs::create_dir_all("/run/secrets/gw").expect("a folder");
    shell("mount -t tmpfs none /run/secrets/gw");
    fs::write("/run/secrets/gw/token", "content").expect("a file");
    let this = this().display().to_string();
    let changed = || count(agent, FILES, &this, &["security_path_chmod"]);
    evade(container, &["chroot", "/etc", "/gw-file"]);
    assert_eq!(changed(), 1, "{}", agent.metrics());
    evade(container, &["chroot", "/run/secrets/gw", "/token"]);
    assert_eq!(changed(), 2, "{}", agent.metrics());
    shell("umount /run/secrets/gw");
}

/// Datagrams, as QUIC sends them.
fn datagram(agent: &Agent, container: &Container) {
    shell("ip address replace 198.51.100.7/32 dev lo; ip -6 address replace 2001:db8::7/128 dev lo nodad");
    evade(container, &["datagrams", "127.0.0.1", "198.51.100.7", "2001:db8::7"]);
    let this = this().display().to_string();
    assert_eq!(count(agent, NETWORK, &this, &["ip_send_skb"]), 3, "{}", agent.metrics());
    assert_eq!(count(agent, NETWORK, &this, &["ip6_send_skb"]), 2, "{}", agent.metrics());
}

/// Evasions on the host: `capset` by the entry for 32-bit programs, other programs than sudo, and a module that the kernel
/// decompresses.
pub(super) fn of_host(agent: &Agent) {
    let program = this().display().to_string();
    let count = |policy: &str, binary: &str, hook: &str| {
        agent.events(&[("policy", policy), ("binary", binary), ("hook", hook), ("pod", "")])
    };
    shell(&format!("{program} {CALLS} evade capset-32"));
    let capset = count("privileges-raise", &program, "kprobe:security_capset");
    assert_eq!(capset, 1, "{}", agent.metrics());

    let of_cargo = "/usr/lib/cargo/bin";
    shell(&format!(
        "mkdir -p {of_cargo} && cp /usr/bin/true {of_cargo}/su && cp /usr/bin/true /usr/bin/su-rs"
    ));
    let starts = || count("sudo-invocations", "/usr/bin/dash", "kprobe:security_bprm_check");
    let before = starts();
    shell(&format!("su --version && runuser --version && {of_cargo}/su && su-rs"));
    assert_eq!(starts() - before, 4, "{}", agent.metrics());
    shell("runuser -u nobody -- true");
    let by_runuser = count("sudo-invocations", "/usr/sbin/runuser", "kprobe:__x64_sys_execve");
    assert!(by_runuser >= 1, "{}", agent.metrics());

    // The flag exists since 5.17.
    if !this_kernel_begins_with("5.10.") {
        let module = crate::modules::unloaded().expect("a module of this kernel");
        shell(&format!("{program} {CALLS} evade read-compressed-module {}", module.file.display()));
        let read = count("monitor-kernel-modules", &program, "kprobe:security_kernel_read_file");
        assert_eq!(read, 1, "{}", agent.metrics());
    }
}

fn this_kernel_begins_with(release: &str) -> bool {
    rustix::system::uname().release().to_bytes().starts_with(release.as_bytes())
}
