//! The agent with the capabilities that the chart gives it, and without each of them.

use std::{fs, process::Command};

use super::{SETUID, make, policy, this, uprobes};
use crate::{agent::Agent, calls, pod};

/// Those of `agent.capabilities` in the chart's values, as setpriv writes them. A test compares.
const CAPABILITIES: [&str; 6] = ["bpf", "perfmon", "sys_resource", "sys_ptrace", "sys_nice", "syslog"];

/// Arguments of setpriv that leave root these capabilities and no other.
fn only(capabilities: &[&str]) -> String {
    capabilities.iter().fold("-all".to_owned(), |set, one| set + ",+" + one)
}

fn all_but(one: &str) -> String {
    only(&CAPABILITIES.into_iter().filter(|capability| *capability != one).collect::<Vec<_>>())
}

fn start(set: &str) -> Agent {
    start_with(set, &[("p.yaml", &policy("uid", SETUID))])
}

fn start_with(set: &str, policies: &[(&str, &str)]) -> Agent {
    let through = ["setpriv", "--bounding-set", set, "--inh-caps", set, "--no-new-privs"];
    Agent::start_through(&through, policies, &pod::list(&[]))
}

/// With Debian's value of 3 its kernels ask, for kprobes, for `CAP_SYS_ADMIN`; the agent says so.
fn calm_perf() {
    let setting = "/proc/sys/kernel/perf_event_paranoid";
    if fs::read(setting).is_ok_and(|value| value.starts_with(b"3")) {
        let agent = start(&only(&CAPABILITIES));
        assert!(agent.log().contains("kernel.perf_event_paranoid"), "{}", agent.log());
        drop(agent);
        fs::write(setting, "2").expect("written");
    }
}

fn this_kernel() -> Vec<u8> {
    rustix::system::uname().release().to_bytes().to_vec()
}

/// With these it does everything, for a program that ran before it, too.
pub(super) fn least() {
    calm_perf();
    let agent = start(&only(&CAPABILITIES));
    calls::setuid_root(100);
    make("setuid", "50");
    let binary = this().display().to_string();
    let counted = agent.events(&[("policy", "uid"), ("binary", &binary)]);
    assert_eq!(counted, 150, "{}\n{}", agent.metrics(), agent.log());
    let log = agent.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

/// With these it hooks functions of user programs, where the kernel doesn't ask for another one by name.
pub(super) fn user_programs() {
    calm_perf();
    let policy = uprobes::counting(&this());
    let mut agent = start_with(&only(&CAPABILITIES), &[("p.yaml", &policy)]);
    if !uprobes::attaches(&agent) {
        assert!(agent.log().contains("asks for CAP_SYS_ADMIN"), "{}", agent.log());
        let with_one = [&CAPABILITIES[..], &["sys_admin"]].concat();
        drop(agent);
        agent = start_with(&only(&with_one), &[("p.yaml", &policy)]);
        assert!(uprobes::attaches(&agent), "{}", agent.log());
    }
    make("counted", "25");
    assert_eq!(agent.events(&[("policy", "counting")]), 25, "{}\n{}", agent.metrics(), agent.log());
}

/// Without one of them it reports in a sentence which one, or continues and reports what it cannot do.
pub(super) fn without_each() {
    calm_perf();
    let locks_memory = this_kernel().starts_with(b"5.10.");
    for one in CAPABILITIES {
        let set = all_but(one);
        let name = format!("CAP_{}", one.to_uppercase());
        let needed = match one {
            "bpf" | "perfmon" => true,
            "sys_resource" => locks_memory,
            _ => false,
        };
        if needed {
            // Other tests have lifted this limit, which is a usual one. An agent that runs is a failure, not a wait.
            let limited = "ulimit -l 64 && exec timeout 60 \"$@\"";
            let output = Command::new("sh")
                .args(["-c", limited, "sh", "setpriv", "--bounding-set", &set, "--inh-caps", &set])
                .arg("gatewatch-agent")
                .args(["--policy-dir", "/policies", "--metrics-address", "127.0.0.1:0"])
                .output()
                .expect("setpriv runs");
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "without {one}: {text}");
            assert!(
                text.trim().lines().last().is_some_and(|line| line.contains(&name)),
                "without {one}: {text}"
            );
            continue;
        }
        let agent = start(&set);
        calls::setuid_root(100);
        // By a program that ran before the agent.
        let counted = agent.events(&[("policy", "uid"), ("binary", &this().display().to_string())]);
        let missed = agent.sum("gatewatch_events_missed_total", &[]);
        assert_eq!(counted + missed, 100, "without {one}: {}", agent.metrics());
        if matches!(one, "sys_resource" | "sys_ptrace") {
            assert!(agent.log().contains(&name), "without {one}: {}", agent.log());
        }
        assert_eq!(agent.sum("gatewatch_policies", &[("state", "running")]), 1, "without {one}");
    }
}

#[cfg(test)]
mod tests {
    use super::CAPABILITIES;

    #[test]
    fn they_are_the_chart_s() {
        let values = include_str!("../../../charts/gatewatch/values.yaml");
        let listed = CAPABILITIES.map(str::to_uppercase).join(", ");
        assert!(values.contains(&format!("\n  capabilities: [{listed}]\n")), "[{listed}]");
    }
}
