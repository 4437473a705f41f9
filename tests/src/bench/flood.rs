//! An agent under its usual load, and under loads that no node should have: calls flat out on all processors, a hundred
//! thousand programs, and a full map.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use super::{
    program::EXECUTE,
    table::{Line, Table},
    usage::{memory, processor, processor_since, seconds},
};
use crate::{
    agent::{Agent, sum},
    pod,
    scrape::EVENTS,
    vm::{CALLS, policy, this},
};

const PROCESSES: u32 = 2;
/// Calls of each process.
const CALLS_EACH: u32 = 500_000;
/// Different programs: more than the map of counts has room for.
const PROGRAMS: u32 = 100_000;
const MIB: f64 = 1_048_576.0;
const NANOSECONDS: f64 = 1e9;

pub(super) fn measure(table: &mut Table) {
    table.progress("calls without an agent");
    let alone = (0..2).map(|_| seconds(flat_out())).fold(f64::INFINITY, f64::min);
    let calls = f64::from(PROCESSES * CALLS_EACH);
    table.add(&Line::new("calls flat out, without an agent", calls / alone, "a second"));

    let policies = policy("uid", "  - call: __sys_setuid\n    syscall: false");
    let agent = Agent::start(&[("p.yaml", &policies)], &pod::list(&[]));
    table.progress("the same calls, counted");
    let mut made = 0;
    calls_counted(table, &agent, "calls flat out, counted", alone, &mut made);
    programs(table, &agent, &mut made);
    calls_counted(table, &agent, "calls flat out, map full", alone, &mut made);
}

/// Calls flat out; each is counted, under whatever name.
fn calls_counted(table: &mut Table, agent: &Agent, what: &str, alone: f64, made: &mut u64) {
    let (before, used) = (memory(agent.id()), processor(agent.id()));
    let took = seconds(flat_out());
    let busy = processor_since(agent.id(), &used) / NANOSECONDS;
    *made += u64::from(PROCESSES * CALLS_EACH);
    let calls = f64::from(PROCESSES * CALLS_EACH);
    table.add(&Line::new(what, calls / took, "a second").floor(calls / alone));
    table.add(&Line::new(format!("{what}: the agent's processor time"), busy / took * 100.0, "%"));
    exact(table, agent, what, *made);
    let after = memory(agent.id());
    table.add(
        &Line::new(format!("{what}: the agent's memory"), after.resident / MIB, "MiB")
            .floor(before.resident / MIB),
    );
}

fn programs(table: &mut Table, agent: &Agent, made: &mut u64) {
    table.progress("executing 100,000 programs");
    let (before, used) = (memory(agent.id()), processor(agent.id()));
    let folders: Vec<_> = (0..PROCESSES).map(|_| tempfile::tempdir().expect("a folder")).collect();
    let begun = Instant::now();
    // In folders of their own: names differ by these.
    let workers: Vec<_> = folders
        .iter()
        .map(|folder| {
            let mut command = Command::new(this());
            command.arg(EXECUTE).arg(folder.path()).args(["0", &(PROGRAMS / PROCESSES).to_string()]);
            command.spawn().expect("a process that executes programs")
        })
        .collect();
    for mut worker in workers {
        assert!(worker.wait().expect("an exit status").success());
    }
    let took = seconds(begun.elapsed());
    *made += u64::from(PROGRAMS);
    let busy = processor_since(agent.id(), &used) / NANOSECONDS;
    let what = "100,000 programs";
    table.add(&Line::new(format!("{what}: executions"), f64::from(PROGRAMS) / took, "a second"));
    table.add(&Line::new(format!("{what}: the agent's processor time"), busy / took * 100.0, "%"));
    let text = exact(table, agent, what, *made);
    for map in ["counts", "binaries", "processes"] {
        let of = |metric| sum(&text, metric, &[("map", map)]);
        let (entries, capacity) = (of("gatewatch_map_entries"), of("gatewatch_map_capacity"));
        table.add(
            &Line::new(format!("{what}: entries of {map}"), as_number(entries), "")
                .budget(as_number(capacity), 0.0),
        );
    }
    let after = memory(agent.id());
    table.add(
        &Line::new(format!("{what}: the agent's memory"), after.resident / MIB, "MiB")
            .floor(before.resident / MIB),
    );
    table.add(&Line::new(format!("{what}: at the most"), after.most / MIB, "MiB"));
}

/// Each call that was made is counted: what is lost is a line of the table, whose budget is 0.
fn exact(table: &mut Table, agent: &Agent, what: &str, made: u64) -> String {
    let text = agent.metrics();
    let named = sum(&text, EVENTS, &[("policy", "uid")]);
    let overflow = sum(&text, "gatewatch_events_overflow_total", &[]);
    let missed = sum(&text, "gatewatch_events_missed_total", &[]);
    table.progress(&format!(
        "{what}: {made} calls made so far, {named} in series, {overflow} in overflow, {missed} missed"
    ));
    let wrong = made.abs_diff(named + overflow) + missed;
    table.add(&Line::new(format!("{what}: calls not counted"), as_number(wrong), "").budget(0.0, 0.0));
    table.add(&Line::new(format!("{what}: counted without a name"), as_number(overflow), "of all"));
    text
}

#[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn as_number(value: u64) -> f64 {
    value as f64
}

/// How long it takes until the processes have made their calls.
fn flat_out() -> Duration {
    let begun = Instant::now();
    let workers: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let mut command = Command::new(this());
            command.args([CALLS, "setuid", &CALLS_EACH.to_string()]);
            command.spawn().expect("a process that makes calls")
        })
        .collect();
    for mut worker in workers {
        assert!(worker.wait().expect("an exit status").success());
    }
    begun.elapsed()
}
