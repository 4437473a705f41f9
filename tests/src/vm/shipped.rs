//! The shipped policies: each loads on this kernel and counts what it should.

pub(super) mod evasions;
pub(super) mod runtime;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    process::Command,
};

use super::{CALLS, this};
use crate::{
    agent::{Agent, sum},
    pod::{self, Container},
    scrape::EVENTS,
};

const POLICIES: &str = "/policies";
const UID: &str = "11111111-2222-3333-4444-555555555555";
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER_UID: &str = "99999999-2222-3333-4444-555555555555";
const OTHER_ID: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

fn pods() -> String {
    pod::list(&[
        pod::manifest("test", "tiefighter", UID, ID, &[("org", "empire")]),
        pod::manifest("test", "xwing", OTHER_UID, OTHER_ID, &[("org", "alliance")]),
    ])
}

fn shell(line: &str) {
    let status = Command::new("sh").arg("-c").arg(line).status().expect("a shell");
    assert!(status.success(), "{line}: {status}");
}

fn started() -> Agent {
    let agent = Agent::start_on(Path::new(POLICIES), &pods());
    let running = agent.sum("gatewatch_policies", &[("state", "running")]);
    assert_eq!(running, 6, "every shipped policy runs:\n{}", agent.log());
    assert!(!agent.log().contains("WARN"), "nothing to say about them:\n{}", agent.log());
    agent
}

/// sudo, set*id, user namespaces, kernel modules, and other ways to do the same.
pub(super) fn host_policies() {
    let agent = started();
    for _ in 0..3 {
        shell("setuid 1 true");
    }
    shell("sudo true; sudo -V > /dev/null");
    for _ in 0..4 {
        shell("setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --map-root-user true");
    }
    shell("unshare --user true; unshare --user true");
    let module = crate::modules::unloaded().expect("a module of this kernel");
    for _ in 0..2 {
        shell(&format!("insmod {} && rmmod {}", module.file.display(), module.name));
    }
    let text = agent.metrics();
    let count = |policy, binary, hook| {
        sum(
            &text,
            EVENTS,
            &[("policy", policy), ("binary", binary), ("hook", hook), ("pod", ""), ("namespace", "")],
        )
    };
    let raise = "privileges-raise";
    assert_eq!(count(raise, "/usr/bin/setuid", "kprobe:__sys_setuid"), 3, "{text}");
    assert_eq!(count(raise, "/usr/bin/unshare", "kprobe:create_user_ns"), 4, "{text}");
    assert_eq!(count("user-namespaces", "/usr/bin/unshare", "kprobe:create_user_ns"), 2, "{text}");
    let sudo = "sudo-invocations";
    assert!(count(sudo, "/usr/bin/sudo", "kprobe:__x64_sys_execve") >= 1, "{text}");
    assert_eq!(count(sudo, "/usr/bin/dash", "kprobe:security_bprm_check"), 2, "{text}");
    let modules = "monitor-kernel-modules";
    assert_eq!(count(modules, "/usr/bin/kmod", "kprobe:security_kernel_read_file"), 2, "{text}");
    assert_eq!(count(modules, "/usr/bin/kmod", "kprobe:do_init_module"), 2, "{text}");
    assert_eq!(count(modules, "/usr/bin/kmod", "kprobe:free_module"), 2, "{text}");
    // With the same agent: on an emulated processor, its start takes longer than all that follows.
    evasions::of_host(&agent);
}

/// Files and connections of the pod that is selected, and none of the one that isn't; then other ways to do the same.
pub(super) fn application_policies() {
    let agent = started();
    shell("ip address replace 198.51.100.7/32 dev lo; ip -6 address replace 2001:db8::7/128 dev lo nodad");
    for (uid, id) in [(UID, ID), (OTHER_UID, OTHER_ID)] {
        let container = Container::create(uid, id).expect("a cgroup");
        for line in ["touch /etc/made-by-touch", "rm /etc/made-by-touch", "cat /etc/shadow"] {
            let argv: Vec<&str> = line.split(' ').collect();
            let output = container.run(&this(), &argv).expect("it runs");
            assert!(output.status.success(), "{line}: {output:?}");
        }
        for address in [
            IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)),
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ] {
            let url = match address {
                IpAddr::V4(v4) => format!("http://{v4}:81/"),
                IpAddr::V6(v6) => format!("http://[{v6}]:81/"),
            };
            // No program listens; the attempt counts.
            let _ = container.run(&this(), &["curl", "--silent", "--globoff", &url]).expect("curl runs");
        }
        container.remove().expect("the cgroup is removed");
    }
    let text = agent.metrics();
    let files = "application-file-system-access";
    let tiefighter = [("pod", "tiefighter"), ("namespace", "test"), ("workload", "tiefighter")];
    let count = |policy, binary, hook| {
        let mut labels = vec![("policy", policy), ("binary", binary), ("hook", hook)];
        labels.extend(tiefighter);
        sum(&text, EVENTS, &labels)
    };
    assert_eq!(count("external-http-call", "/usr/bin/curl", "kprobe:tcp_connect"), 2, "{text}");
    assert_eq!(count(files, "/usr/bin/touch", "kprobe:security_path_mknod"), 1, "{text}");
    assert_eq!(count(files, "/usr/bin/rm", "kprobe:security_path_unlink"), 1, "{text}");
    assert!(count(files, "/usr/bin/touch", "kprobe:security_file_permission") >= 1, "{text}");
    // Two reads of the file, and those of the C library.
    assert!(count(files, "/usr/bin/cat", "kprobe:security_file_permission") >= 2, "{text}");
    assert_eq!(sum(&text, EVENTS, &[("pod", "xwing")]), 0, "{text}");
    assert_eq!(sum(&text, "gatewatch_attribution_pending_events", &[]), 0, "{text}");
    evasions::of_pod(&agent);
}

/// Events of a pod that becomes known only later, when its cgroup is deleted already.
pub(super) fn late_pods() {
    let policy = super::policy("gid", "  - call: __sys_setgid\n    syscall: false")
        .replace("spec:\n", "spec:\n  podSelector:\n    matchLabels: {org: empire}\n");
    let agent = Agent::start(&[("p.yaml", &policy)], &pod::list(&[]));
    let this = this();
    let program = this.display().to_string();
    for (uid, id) in [(UID, ID), (OTHER_UID, OTHER_ID)] {
        let container = Container::create(uid, id).expect("a cgroup");
        let output = container.run(&this, &[&program, CALLS, "setgid", "500"]).expect("it runs");
        assert!(output.status.success(), "{output:?}");
        container.remove().expect("the cgroup is removed");
    }
    assert_eq!(agent.events(&[]), 0, "{}", agent.metrics());
    assert_eq!(agent.sum("gatewatch_attribution_pending_events", &[]), 1_000);
    fs::write(&agent.pods, pods()).expect("the pods are written");
    let of_tiefighter = [("pod", "tiefighter"), ("namespace", "test"), ("policy", "gid")];
    assert!(agent.wait(|text| sum(text, EVENTS, &of_tiefighter) == 500), "{}", agent.metrics());
    assert_eq!(agent.events(&[]), 500, "the other pod isn't selected: {}", agent.metrics());
    assert_eq!(agent.sum("gatewatch_attribution_pending_events", &[]), 0);
}
