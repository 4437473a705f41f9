//! What a scrape and a policy more cost on a node with many pods and policies, in instructions.

use std::{fs, path::Path, path::PathBuf, thread::sleep, time::Duration};

use aya::maps::{HashMap, Map, MapData, PerCpuArray};
use gatewatch_abi::CountKey;

use super::{
    table::{Line, Table},
    usage::{processor, processor_since},
    world::{World, policy_text, series},
};

/// A scrape of 10,000 series: 50 ms of a slow processor, which does two instructions a nanosecond.
const SCRAPE: f64 = 100.0;
/// By which runs differ under icount.
const NOISE: f64 = 0.05;
const MILLION: f64 = 1e6;
/// Scrapes with nothing new, of which the least counts: what else the agent does comes now and then.
const ROUNDS: usize = 5;
/// Until a change of the policies is certainly applied. Time in which nothing runs passes at once.
const SETTLED: Duration = Duration::from_secs(20);

pub(super) fn measure(table: &mut Table) {
    for (policies, pods) in [(100_u32, 200_u32), (100, 300)] {
        let world = World::new(table, policies, pods);
        let of = format!("{policies} policies, {pods} pods");
        let budget = pods == 200;
        let (idle, ()) = cost(&world, || sleep(SETTLED));
        table.add(&Line::new(format!("{of}: a second without work"), idle / 20.0, "M instructions"));
        scrapes(table, &world, &of, u64::from(policies / 2 * pods), budget);
        let (added, ()) = cost(&world, || {
            fs::write(world.agent.policies.join("more.yaml"), policy_text(policies)).expect("a policy");
            sleep(SETTLED);
        });
        assert_eq!(
            world.agent.sum("gatewatch_policies", &[("state", "running")]),
            u64::from(policies) + 1,
            "{}",
            world.agent.log()
        );
        table.add(&Line::new(format!("{of}: a policy more"), added - idle, "M instructions"));
    }
}

/// What the agent takes while something happens, in million instructions.
fn cost<T>(world: &World, happens: impl FnOnce() -> T) -> (f64, T) {
    let before = processor(world.agent.id());
    let result = happens();
    (processor_since(world.agent.id(), &before) / MILLION, result)
}

#[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn scrapes(table: &mut Table, world: &World, of: &str, wanted: u64, budget: bool) {
    // Its thread is there after one.
    world.scrape(0);
    let (empty, _) = cost(world, || world.scrape(0));
    table.add(&Line::new(format!("{of}: a scrape without series"), empty, "M instructions"));
    world.call(2);
    let (first, text) = cost(world, || world.scrape(wanted * 2));
    assert_eq!(series(&text) as u64, wanted);
    let floor = reading();
    let mut line = |what: &str, million: f64, may: bool| {
        let line = Line::new(format!("{of}: {what}"), million, "M instructions").floor(floor);
        table.add(&if may { line.budget(SCRAPE, NOISE) } else { line });
    };
    line("the first scrape of all series", first, false);
    let again = (0..ROUNDS).map(|_| cost(world, || world.scrape(wanted * 2)).0).fold(f64::INFINITY, f64::min);
    line("a scrape, nothing new", again, budget);
    let all_new = (1..=3)
        .map(|round| {
            world.call(1);
            cost(world, || world.scrape(wanted * (2 + round))).0
        })
        .fold(f64::INFINITY, f64::min);
    line("a scrape, every series has grown", all_new, budget);
    table.add(&Line::new(format!("{of}: series"), wanted as f64, ""));
    table.add(&Line::new(format!("{of}: bytes of a scrape"), text.len() as f64, "bytes"));
    table.add(&Line::new(
        format!("{of}: a series, every one has grown"),
        all_new * MILLION / wanted as f64,
        "instructions",
    ));
}

/// The least that a scrape can take: reading the agent's counts out of the kernel, one after the other, and nothing else.
/// In million instructions of this process.
fn reading() -> f64 {
    let map = |name| {
        let path = find(Path::new("/sys/fs/bpf/gatewatch"), name).expect("a map of the agent's");
        MapData::from_pin(path).and_then(Map::from_map_data).expect("a map")
    };
    let places: HashMap<MapData, CountKey, u32> = map("COUNTS").try_into().expect("places of counts");
    let values: PerCpuArray<MapData, u64> = map("VALUES").try_into().expect("counts");
    (0..ROUNDS)
        .map(|_| {
            let id = std::process::id();
            let before = processor(id);
            let read = |place| values.get(&place, 0).expect("a count").iter().sum::<u64>();
            let sum: u64 = places.iter().flatten().map(|(_, place)| read(place)).sum();
            assert!(sum > 0, "counts");
            processor_since(id, &before) / MILLION
        })
        .fold(f64::INFINITY, f64::min)
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).find_map(|path| {
        if path.file_name().is_some_and(|file| file == name) { Some(path) } else { find(&path, name) }
    })
}
