//! What the agent and its kernel half keep in memory.

use std::{collections::BTreeMap, path::Path, thread::sleep, time::Duration};

use super::{
    table::{Line, Table},
    usage::{Memory, Part, grown, kernel_memory, kernel_parts, memory, sum},
    world::{World, series},
};
use crate::{agent::Agent, pod, scrape};

const MIB: f64 = 1_048_576.0;
const KIB: f64 = 1_024.0;
/// What an agent with 100 policies may have, and a policy in the kernel.
const AGENT: f64 = 30.0;
const POLICY: f64 = 64.0;
/// By which runs differ: where the allocator finds room depends on the moment.
const NOISE: f64 = 0.03;
/// Until the agent has given back what it needed at the start or for a scrape: it does that every 30 s.
const REST: Duration = Duration::from_secs(40);

/// One line of an agent's memory, with what is the program's beside it.
fn agent(table: &mut Table, what: &str, memory: Memory, floor: Option<f64>, budget: bool) {
    let line = Line::new(what, memory.resident / MIB, "MiB");
    let line = floor.map_or(line.clone(), |floor| line.floor(floor));
    table.add(&if budget { line.budget(AGENT, NOISE) } else { line });
    table.progress(&format!(
        "{what}: {:.1} MiB of its own, {:.1} MiB of its program's file, {:.1} MiB at the most",
        memory.own / MIB,
        (memory.resident - memory.own) / MIB,
        memory.most / MIB
    ));
}

pub(super) fn measure(table: &mut Table) {
    let mut floor = None;
    let mut in_kernel = Vec::new();
    let mut parts = Vec::new();
    for policies in [0_u32, 1, 10, 100, 1_000] {
        let world = World::new(table, policies, 0);
        let used = memory(world.agent.id());
        let kept = kernel_parts(world.agent.id());
        in_kernel.push((f64::from(policies), sum(&kept)));
        parts.push(kept);
        let what = format!("agent, {policies} policies");
        agent(table, &what, used, floor, policies <= 100);
        floor.get_or_insert(used.resident / MIB);
        if policies == 100 {
            share(table, "100 policies on one function", &world.agent);
        }
    }
    say_parts(table, "the kernel keeps for no policy", &BTreeMap::new(), &parts[0]);
    say_parts(table, "and for the first one", &parts[0], &parts[1]);
    let first = in_kernel[0].1;
    table.add(&Line::new("kernel, 0 policies", first / KIB, "KiB"));
    for pair in in_kernel.windows(2) {
        let ((few, less), (many, more)) = (pair[0], pair[1]);
        let what = format!("kernel, a policy more, from {few} to {many}");
        table.add(&Line::new(what, (more - less) / (many - few) / KIB, "KiB").budget(POLICY, NOISE));
    }
    table.progress("starting an agent with the policies that are shipped");
    let shipped = Agent::start_on(Path::new("/policies"), &pod::list(&[]));
    share(table, "the shipped policies", &shipped);
    let with_shipped = kernel_parts(shipped.id());
    say_parts(table, "and for the policies that are shipped", &parts[0], &with_shipped);
    let grown = grown(&parts[0], &with_shipped);
    // Each function has a slot for its classifier, of a type that nothing else has (BPF_MAP_TYPE_PROG_ARRAY).
    let functions =
        grown.iter().filter(|(kind, _)| kind.starts_with("map of type 3,")).map(|(_, part)| part.count);
    let (functions, all) = (f64::from(functions.sum::<u32>()), sum(&with_shipped) - sum(&parts[0]));
    table.add(&Line::new("the shipped policies: functions", functions, ""));
    table.add(
        &Line::new("kernel, the shipped policies: a function", all / functions / KIB, "KiB")
            .budget(POLICY, NOISE),
    );
    drop(shipped);

    let hundred = in_kernel[3].1;
    for pods in [100_u32, 500] {
        let world = World::new(table, 100, pods);
        agent(table, &format!("agent, 100 policies, {pods} pods"), memory(world.agent.id()), floor, true);
        let more = kernel_memory(world.agent.id()) - hundred;
        table.add(&Line::new(format!("kernel, a pod more, of {pods}"), more / f64::from(pods) / KIB, "KiB"));
    }
    with_series(table, floor);
}

/// Where the kernel's memory is, for whoever wants less of it.
fn say_parts(table: &Table, what: &str, before: &BTreeMap<String, Part>, after: &BTreeMap<String, Part>) {
    for (kind, Part { count, bytes }) in grown(before, after) {
        table.progress(&format!("{what}: {:.1} KiB, {count} × {kind}", bytes / KIB));
    }
}

/// Each policy's share of what the kernel needs for the functions that it hooks, as the agent exports it: the greatest.
fn share(table: &mut Table, what: &str, agent: &Agent) {
    let shares = scrape::samples(&agent.metrics(), "gatewatch_policy_kernel_memory_bytes");
    assert!(!shares.is_empty(), "{}", agent.log());
    let most = shares.into_iter().map(|(_, bytes)| bytes).fold(0.0, f64::max);
    table.add(
        &Line::new(format!("kernel, {what}: the greatest share"), most / KIB, "KiB").budget(POLICY, NOISE),
    );
}

fn with_series(table: &mut Table, floor: Option<f64>) {
    const PODS: u32 = 200;
    const POLICIES: u32 = 100;
    const CALLS: u64 = 2;
    let world = World::new(table, POLICIES, PODS);
    let (before, kernel) = (memory(world.agent.id()), kernel_memory(world.agent.id()));
    agent(table, "agent, 100 policies, 200 pods", before, floor, true);
    world.call(CALLS);
    let events = u64::from(PODS * POLICIES / 2) * CALLS;
    let mut count = 0;
    for _ in 0..2 {
        count = series(&world.scrape(events));
    }
    assert_eq!(count, (PODS * POLICIES / 2) as usize);
    let after = memory(world.agent.id());
    agent(table, "the same with 10,000 series, after two scrapes", after, floor, true);
    table.add(&Line::new("the same, at the most", after.most / MIB, "MiB"));
    let each = (kernel_memory(world.agent.id()) - kernel) / f64::from(PODS * POLICIES / 2);
    table.add(&Line::new("kernel, a series", each, "bytes"));
    table.progress("letting the agent rest");
    sleep(REST);
    let rested = memory(world.agent.id());
    agent(table, "the same, at rest", rested, floor, true);
    let each = (rested.own - before.own) / f64::from(PODS * POLICIES / 2);
    table.add(&Line::new("agent, a series, at rest", each, "bytes"));
}
