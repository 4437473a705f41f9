//! From the agent's exec until all policies count.

use std::{path::Path, time::Duration};

use super::{
    table::{Line, Table},
    usage::seconds,
    world::start,
};
use crate::{agent::Agent, calls, pod, vm::policy};

/// Starts of which the quickest counts: all else that the machine does only adds.
const ROUNDS: usize = 3;
/// What 100 policies may take more than none, in seconds.
const HUNDRED: f64 = 2.0;
/// By which runs differ on an emulated processor of a machine that has other work.
const NOISE: f64 = 0.15;

pub(super) fn measure(table: &mut Table) {
    let mut none = 0.0;
    for count in [0_u32, 100, 1_000] {
        let policies = policies(count);
        let took = quickest(table, &format!("{count} policies"), || {
            let agent = start(&policies, &pod::list(&[]));
            calls::setuid_root(1);
            assert_eq!(agent.events(&[]), u64::from(count), "all count from then on\n{}", agent.log());
            agent.started_in
        });
        let line = Line::new(format!("exec to counting, {count} policies"), took, "s");
        if count == 0 {
            none = took;
            table.add(&line);
            continue;
        }
        table.add(&line.floor(none));
        let more = Line::new(format!("{count} policies more than none"), took - none, "s");
        table.add(&if count == 100 { more.budget(HUNDRED, NOISE) } else { more });
    }
    let shipped = quickest(table, "the shipped policies", || {
        Agent::start_on(Path::new("/policies"), &pod::list(&[])).started_in
    });
    table.add(&Line::new("exec to counting, the shipped policies", shipped, "s").floor(none));
    let policies = policies(100);
    let again = quickest(table, "100 policies after a kill", || {
        let mut agent = start(&policies, &pod::list(&[]));
        agent.kill();
        calls::setuid_root(1);
        agent.again();
        assert_eq!(agent.events(&[]), 100, "counted while no agent ran\n{}", agent.log());
        agent.started_in
    });
    table.add(&Line::new("exec to counting, 100 policies, after a kill", again, "s").floor(none));
}

/// Policies for everybody, so that it can be seen that they count.
fn policies(count: u32) -> Vec<(String, String)> {
    let text = |number| policy(&format!("policy-{number}"), "  - call: __sys_setuid\n    syscall: false");
    (0..count).map(|number| (format!("{number}.yaml"), text(number))).collect()
}

fn quickest(table: &Table, what: &str, mut start: impl FnMut() -> Duration) -> f64 {
    (1..=ROUNDS)
        .map(|round| {
            let took = seconds(start());
            table.progress(&format!("{what}: start {round} of {ROUNDS} took {took:.2} s"));
            took
        })
        .fold(f64::INFINITY, f64::min)
}
