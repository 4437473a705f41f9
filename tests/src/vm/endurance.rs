//! Endurance: everything that happens to an agent, at random and for long, with exact accounts.
//!
//! What the load generator makes it enters in a [ledger](ledger::Ledger), by a model of its own of what policies and
//! pods mean; what a scrape shows must be that, series by series. Restarts of an API server are not among what
//! happens: there is none in these VMs, and policies and pods come from files. The suite `endurance-cluster` has them.

mod calls;
mod ledger;
mod policy;
mod random;
mod resources;
mod steps;
mod world;

use std::{
    collections::BTreeMap,
    fs,
    sync::Mutex,
    time::{Duration, Instant, SystemTime},
};

use gatewatch_agent::bpf::AttachTypes;

pub(super) use self::calls::{make, make_paced};
use self::{
    ledger::Ledger,
    policy::Offers,
    random::Random,
    resources::Resources,
    world::{ALWAYS, Pod, World, always},
};
use super::{restart::hooks_are_kept, this};
use crate::{
    agent::{self, Agent},
    pod::{self, Container},
};

/// How long it takes, in minutes.
static MINUTES: Mutex<u64> = Mutex::new(30);
/// What decides the choices; none: the time does.
static SEED: Mutex<Option<u64>> = Mutex::new(None);
/// How often everything is compared, that which is counted all the time too.
const COMPARED_EVERY: Duration = Duration::from_secs(90);

/// Takes `--minutes=N` and `--seed=N` from the command line; false for other words.
pub fn set(word: &str) -> bool {
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{word}: invalid number {text}"));
    if let Some(minutes) = word.strip_prefix("--minutes=") {
        *MINUTES.lock().expect("no panic before") = number(minutes);
    } else if let Some(seed) = word.strip_prefix("--seed=") {
        *SEED.lock().expect("no panic before") = Some(number(seed));
    } else {
        return false;
    }
    true
}

/// Policies are added, changed, made invalid and removed, pods are created, relabelled and deleted, and the agent is
/// killed, also while it starts, or asked to end: in random order, for as long as the arguments say, while processes in
/// pods and on the host make calls. One policy is always there and counts calls that never stop.
///
/// Each series is exact at any time, and at the end the agent and the kernel have as much as they had at the start.
pub(super) fn everything_at_random() {
    let minutes = *MINUTES.lock().expect("no panic before");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    let seed = SEED.lock().expect("no panic before").unwrap_or_else(|| u64::from(now.subsec_nanos()));
    println!("endurance: {minutes} minutes by --seed={seed}");
    fs::create_dir_all(calls::FILES).expect("a folder");
    for number in 0..calls::VALUES {
        fs::write(format!("{}/{number}", calls::FILES), "x").expect("written");
    }
    agent::cleanup();
    let bare = Resources::settled(None);
    let mut world = begin(seed);
    world.settle(true);
    world.go_on();
    let first = Resources::settled(Some(world.agent.id()));
    // At the end, too, there will be an agent that continues with another's hooks.
    world.restart(false);
    let before = Resources::settled(Some(world.agent.id()));
    assert_eq!(before.since(&first), "", "an agent that takes over has other things than the one before");
    println!("endurance: {}", before.summary());

    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let (mut steps, mut compared) = (0, Instant::now());
    while Instant::now() < end {
        world.step();
        steps += 1;
        if compared.elapsed() >= COMPARED_EVERY {
            world.compare_all();
            compared = Instant::now();
            println!(
                "endurance: {:.0} s, {steps} steps, {} calls in {} series are exact",
                world.begun.elapsed().as_secs_f64(),
                world.ledger.total(),
                world.ledger.series()
            );
        }
    }
    world.compare_all();

    world.remove_all();
    world.compare_all();
    for restarted in [false, true] {
        if restarted {
            world.restart(false);
            world.compare_all();
        }
        if let Err(differences) = Resources::same(&before, Some(world.agent.id())) {
            world.fail(&format!("(restarted: {restarted}) not as it was:\n{differences}"));
        }
    }
    let made = world.ledger.total();
    world.pause();
    let lasting = world.lasting.container.clone().expect("the lasting pod's");
    drop(world);
    lasting.remove().expect("the cgroup is removed");
    let after = Resources::same(&bare, None);
    assert_eq!(after, Ok(()), "after `gatewatch-agent --cleanup`");
    println!("endurance: {steps} steps, {made} calls in the series that were left; nothing is left over");
}

/// An agent with the policy that stays, and a pod that stays, in which no policy but that one counts `setuid`.
fn begin(seed: u64) -> World {
    let host = crate::kernel::host();
    let offers = Offers {
        chdir: host.profile.syscall_symbol("sys_chdir"),
        returns: AttachTypes::choose(&host.features).fentry,
    };
    let lasting = Pod {
        name: "lasting".to_owned(),
        namespace: "lasting",
        org: "lasting",
        uid: "99999999-1111-2222-3333-000000000000".to_owned(),
        id: "9".repeat(64),
        container: None,
    };
    let container = Container::create(&lasting.uid, &lasting.id).expect("a cgroup");
    let agent = Agent::start(&[("always.yaml", &always())], &pod::list(&[]));
    let world = World {
        random: Random::new(seed),
        kept: hooks_are_kept(),
        agent,
        offers,
        files: BTreeMap::new(),
        pods: Vec::new(),
        ledger: Ledger::new(this().display().to_string()),
        background: None,
        lasting: Pod { container: Some(container), ..lasting },
        next_pod: 0,
        next_marker: 0,
        diary: Vec::new(),
        begun: Instant::now(),
    };
    println!(
        "endurance: `{ALWAYS}` counts {}",
        if world.kept { "while no agent runs, too" } else { "with an agent only" }
    );
    world.write_pods();
    world
}
