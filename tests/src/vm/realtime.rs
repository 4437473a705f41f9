//! No task comes in the middle of a system call on a map: what it did would go by uncounted, see
//! `node-agent/src/bpf/realtime.rs`. Whether one does is rare chance, so it isn't waited for: the kernel's trace
//! of the agent's system calls says of each whether the agent was a real-time task.

use std::{collections::HashMap, fs, path::Path, thread, time::Duration};

use gatewatch_kernel::host::Preemption;

use super::{SETUID, policy};
use crate::{agent::Agent, calls, pod};

/// Where the kernel traces.
const TRACING: &str = "/sys/kernel/tracing";
/// Events: each names its arguments.
const EVENTS: [&str; 2] = ["sys_enter_bpf", "sys_enter_sched_setscheduler"];
/// `BPF_MAP_LOOKUP_ELEM`, `_UPDATE_ELEM`, `_DELETE_ELEM`, `_LOOKUP_AND_DELETE_ELEM`, and `BPF_MAP_LOOKUP_BATCH`,
/// `_LOOKUP_AND_DELETE_BATCH`, `_UPDATE_BATCH`, `_DELETE_BATCH` (`enum bpf_cmd`, include/uapi/linux/bpf.h): those in which
/// the kernel is at an element.
const ON_ELEMENTS: [u32; 8] = [1, 2, 3, 21, 24, 25, 26, 27];
/// `SCHED_FIFO`, include/uapi/linux/sched.h.
const FIFO: u32 = 1;

/// An agent starts, continues with what another one has left, applies policies and pods, is scraped, and ends.
pub(super) fn whenever_a_map_is_touched() {
    let host = crate::kernel::host();
    if matches!(host.features.preemption, Some(Preemption::None | Preemption::Voluntary)) {
        // No task interrupts another one there.
        return;
    }
    let trace = Trace::start();
    let mut agent = Agent::start(&[("uid.yaml", &policy("uid", SETUID))], &pod::list(&[]));
    calls::setuid_root(100);
    assert_eq!(agent.events(&[("policy", "uid")]), 100, "{}", agent.metrics());
    agent.kill();
    agent.again();
    let gid = policy("gid", "  - call: __sys_setgid\n    syscall: false");
    fs::write(agent.policies.join("gid.yaml"), gid).expect("written");
    assert!(agent.wait(|text| text.contains("policies{state=\"running\"} 2")), "{}", agent.log());
    let listed = pod::manifest(
        "test",
        "listed",
        "11111111-2222-3333-4444-555555555505",
        &"e5".repeat(32),
        &[("org", "empire")],
    );
    fs::write(&agent.pods, pod::list(&[listed])).expect("written");
    fs::remove_file(agent.policies.join("uid.yaml")).expect("removed");
    assert!(agent.wait(|text| text.contains("policies{state=\"running\"} 1")), "{}", agent.log());
    // What is done now and then is done as well.
    thread::sleep(Duration::from_secs(3));
    agent.end();
    let text = trace.stop();
    let (touched, disturbed) = on_maps(&text);
    assert!(touched > 100, "{touched} calls on maps were seen:\n{text}");
    assert!(
        disturbed.is_empty(),
        "of {touched} calls on maps, as an ordinary task:\n{}",
        disturbed.join("\n")
    );
}

/// How many calls on maps' elements a trace has, and those of an ordinary task, each with the call before it.
fn on_maps(trace: &str) -> (usize, Vec<String>) {
    let mut real_time: HashMap<&str, bool> = HashMap::new();
    let mut before: HashMap<&str, &str> = HashMap::new();
    let (mut touched, mut disturbed) = (0, Vec::new());
    for line in trace.lines() {
        // `gatewatch-agent-106  [000] .....  7.189048: sys_bpf(cmd: 0x12, …)`
        let Some((task, _)) = line.trim_start().split_once(" [") else { continue };
        let task = task.trim_end();
        if let Some(policy) = argument(line, "policy") {
            real_time.insert(task, policy == FIFO);
        } else if argument(line, "cmd").is_some_and(|command| ON_ELEMENTS.contains(&command)) {
            touched += 1;
            if !real_time.get(task).copied().unwrap_or(false) {
                disturbed.push(format!("{}\n{line}", before.get(task).copied().unwrap_or_default()));
            }
        }
        before.insert(task, line);
    }
    (touched, disturbed)
}

/// An argument of a traced call: small ones are decimal, others hexadecimal.
fn argument(line: &str, name: &str) -> Option<u32> {
    let value = line.split_once(&format!("{name}: "))?.1.split([',', ')']).next()?;
    value.strip_prefix("0x").map_or_else(|| value.parse().ok(), |digits| u32::from_str_radix(digits, 16).ok())
}

/// The kernel's trace of the system calls that are checked.
struct Trace;

impl Trace {
    fn start() -> Self {
        Self::write("trace", "");
        Self::write("buffer_size_kb", "16384");
        for event in EVENTS {
            Self::write(&format!("events/syscalls/{event}/enable"), "1");
        }
        Self
    }

    fn stop(self) -> String {
        let text = fs::read_to_string(Path::new(TRACING).join("trace")).expect("a trace");
        drop(self);
        text
    }

    fn write(file: &str, value: &str) {
        let path = Path::new(TRACING).join(file);
        fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        for event in EVENTS {
            Self::write(&format!("events/syscalls/{event}/enable"), "0");
        }
        Self::write("trace", "");
    }
}

#[cfg(test)]
mod tests {
    use super::on_maps;

    #[test]
    fn calls_of_an_ordinary_task_are_found() {
        let trace = "# tracer: nop\n\
             \x20 a-1  [000] ..... 1.0: sys_bpf(cmd: 1, uattr: 7f)\n\
             \x20 a-1  [000] ..... 1.1: sys_sched_setscheduler(pid: 0x6a, policy: 1, param: 7f)\n\
             \x20 a-1  [001] ..... 1.2: sys_bpf(cmd: 0x18, uattr: 7f)\n\
             \x20 b-2  [000] ..... 1.3: sys_bpf(cmd: 2, uattr: 7f)\n\
             \x20 a-1  [000] ..... 1.4: sys_sched_setscheduler(pid: 0x6a, policy: 0, param: 7f)\n\
             \x20 a-1  [000] ..... 1.5: sys_bpf(cmd: 5, uattr: 7f)\n";
        let (touched, disturbed) = on_maps(trace);
        assert_eq!(touched, 3);
        assert_eq!(disturbed.len(), 2, "{disturbed:?}");
        assert!(disturbed[0].contains("1.0") && disturbed[1].contains("1.3"), "{disturbed:?}");
    }
}
