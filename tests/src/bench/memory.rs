//! What the agent and its BPF programs keep in memory.

use std::{collections::BTreeMap, fs, path::Path, thread::sleep, time::Duration};

use super::{
    table::{Line, Table},
    usage::{Memory, Part, grown, kernel_memory, kernel_parts, memory, sum},
    world::{World, series, start},
};
use crate::{agent::Agent, pod, scrape};

const MIB: f64 = 1_048_576.0;
const KIB: f64 = 1_024.0;
/// What an agent with 100 policies may have, and a policy in the kernel.
const AGENT: f64 = 30.0;
const POLICY: f64 = 64.0;
const HUNDRED: u32 = 100;
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
        if policies == HUNDRED {
            let line = share("100 policies on one function", &world.agent);
            table.add(&line.budget(POLICY, NOISE));
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
    // One policy that is alone on all of its functions pays for them alone.
    table.add(&share("the shipped policies", &shipped).goal(POLICY));
    let with_shipped = kernel_parts(shipped.id());
    say_parts(table, "and for the policies that are shipped", &parts[0], &with_shipped);
    let grown = grown(&parts[0], &with_shipped);
    // Each function has a slot for its matcher, of a type that nothing else has (BPF_MAP_TYPE_PROG_ARRAY).
    let functions =
        grown.iter().filter(|(kind, _)| kind.starts_with("map of type 3,")).map(|(_, part)| part.count);
    let (functions, all) = (f64::from(functions.sum::<u32>()), sum(&with_shipped) - sum(&parts[0]));
    table.add(&Line::new("the shipped policies: functions", functions, ""));
    table.add(
        &Line::new("kernel, the shipped policies: a function", all / functions / KIB, "KiB")
            .budget(POLICY, NOISE),
    );
    drop(shipped);
    hundred_of_shipped(table, first);

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
fn share(what: &str, agent: &Agent) -> Line {
    let shares = scrape::samples(&agent.metrics(), "gatewatch_policy_kernel_memory_bytes");
    assert!(!shares.is_empty(), "{}", agent.log());
    let most = shares.into_iter().map(|(_, bytes)| bytes).fold(0.0, f64::max);
    Line::new(format!("kernel, {what}: the greatest share"), most / KIB, "KiB")
}

/// A hundred policies on as many functions as the shipped ones: these again and again, by other names and for other pods.
fn hundred_of_shipped(table: &mut Table, without: f64) {
    table.progress("starting an agent with a hundred policies made of those that are shipped");
    let texts = shipped_texts(Path::new("/policies"));
    let numbered = (0..HUNDRED).map(|number| {
        let text = &texts[number as usize % texts.len()];
        let name = format!("metadata:\n  name: p{number}-");
        let text =
            text.replace("metadata:\n  name: ", &name).replace("\"empire\"", &format!("\"empire-{number}\""));
        (format!("{number}.yaml"), text)
    });
    let agent = start(&numbered.collect::<Vec<_>>(), &pod::list(&[]));
    let running = agent.sum("gatewatch_policies", &[("state", "running")]);
    assert_eq!(running, u64::from(HUNDRED), "{}", agent.log());
    let each = (kernel_memory(agent.id()) - without) / f64::from(HUNDRED);
    table.add(
        &Line::new("kernel, a policy of 100 made of the shipped ones", each / KIB, "KiB")
            .budget(POLICY, NOISE),
    );
    let line = share("100 made of the shipped ones", &agent);
    table.add(&line.budget(POLICY, NOISE));
}

/// The texts of the policies in a folder and those in it.
fn shipped_texts(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                shipped_texts(&path)
            } else {
                vec![fs::read_to_string(path).expect("a policy")]
            }
        })
        .collect()
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
