use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{cgroup::PodCgroups, pods::Workload};

const KEEP: Duration = REMEMBERED;

pub(crate) fn uid(n: u64) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

pub(crate) fn container_id(n: u64) -> String {
    format!("{n:064x}")
}

/// Path of a container (or, without one, of a pod).
pub(crate) fn path(pod: u64, container: Option<u64>) -> String {
    let container = container.map(|n| format!("/{}", container_id(n))).unwrap_or_default();
    format!("/kubepods/burstable/pod{}{container}", uid(pod))
}

pub(crate) fn pod(uid: &str, namespace: &str, name: &str) -> Pod {
    Pod {
        uid: uid.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        labels: BTreeMap::new(),
        workload: Workload { kind: "Deployment".to_owned(), name: format!("{name}-workload") },
        containers: Vec::new(),
        host_network: false,
        mirror: false,
    }
}

/// A pod with containers named after their ids.
pub(crate) fn pod_with(n: u64, containers: &[u64]) -> Pod {
    let container =
        |c: &u64| Container { name: format!("c{c}"), repo: "repo".to_owned(), id: Some(container_id(*c)) };
    Pod { containers: containers.iter().map(container).collect(), ..pod(&uid(n), "test", &format!("p{n}")) }
}

fn name(owner: &Owner) -> String {
    match owner {
        Owner::Pending => "pending".to_owned(),
        Owner::Host => "host".to_owned(),
        Owner::Unlisted { uid } => format!("unlisted {uid}"),
        Owner::Container { pod, container: ContainerState::Named(c) } => format!("{} {}", pod.name, c.name),
        Owner::Container { pod, container } => format!("{} {container:?}", pod.name),
    }
}

struct Now(Instant);

impl Now {
    fn after(&mut self, seconds: u64) -> Instant {
        self.0 += Duration::from_secs(seconds);
        self.0
    }
}

fn start() -> (Attribution, Now) {
    (Attribution::new(POD_GRACE), Now(Instant::now()))
}

#[test]
fn from_pending_to_known() {
    let (mut known, mut now) = start();
    assert_eq!(known.owner_of_id(7, now.0), Owner::Pending);
    assert!(!known.knows(7));
    known.add_cgroup(7, &path(1, Some(11)), now.0);
    known.add_cgroup(8, "/system.slice/sshd.service", now.0);
    assert_eq!(name(&known.owner_of_id(7, now.0)), "pending");
    assert_eq!(name(&known.owner_of_id(8, now.0)), "host");
    known.apply_pod(pod_with(1, &[]));
    assert_eq!(name(&known.owner_of_id(7, now.after(1))), "p1 Awaited");
    known.apply_pod(pod_with(1, &[11]));
    assert_eq!(name(&known.owner_of_id(7, now.0)), "p1 c11");
    assert_eq!(known.owner_of_id(7, now.0).container_name(), Some("c11"));
    // The sandbox never gets a name.
    known.add_cgroup(9, &path(1, Some(12)), now.0);
    assert_eq!(name(&known.owner_of_id(9, now.0)), "p1 Awaited");
    assert_eq!(name(&known.owner_of_id(9, now.after(60))), "p1 Unnamed");
    known.add_cgroup(10, &path(1, None), now.0);
    assert_eq!(name(&known.owner_of_id(10, now.0)), "p1 Unnamed");
    assert_eq!(known.cgroups(now.0).count(), 4);
}

#[test]
fn nobody_lists_the_pod() {
    let (mut known, mut now) = start();
    known.add_cgroup(7, &path(1, Some(11)), now.0);
    assert_eq!(name(&known.owner_of_id(7, now.after(59))), "pending");
    assert_eq!(name(&known.owner_of_id(7, now.after(1))), format!("unlisted {}", uid(1)));
    assert!(known.pod_exists(&uid(1)));
    known.remove_cgroup(7, now.0);
    assert!(!known.pod_exists(&uid(1)));
    // Better late than never.
    known.set_pods(vec![pod_with(1, &[11])], now.after(1));
    assert_eq!(name(&known.owner_of_id(7, now.0)), "p1 c11");
}

#[test]
fn what_is_gone_is_remembered_and_then_forgotten() {
    let (mut known, mut now) = start();
    known.set_pods(vec![pod_with(1, &[11]), pod_with(2, &[21])], now.0);
    known.add_cgroup(7, &path(1, Some(11)), now.0);
    known.remove_cgroup(7, now.after(1));
    known.set_pods(vec![pod_with(2, &[21])], now.after(1));
    assert!(!known.pod_exists(&uid(1)));
    assert!(known.pod_exists(&uid(2)));
    assert_eq!(name(&known.owner_of_id(7, now.after(30))), "p1 c11");
    assert_eq!(known.cgroups(now.0).count(), 0);
    assert_eq!(known.forget(KEEP, now.after(500)), Forgotten::default());
    let key = CgroupKey { id: 7, generation: 0 };
    assert_eq!(known.forget(KEEP, now.after(100)), Forgotten { cgroups: vec![key], ids: vec![7] });
    assert!(!known.knows(7));
    // The pod goes with it.
    assert_eq!(known.pods.len(), 1);
}

#[test]
fn a_deleted_pod_stays_while_it_has_a_cgroup() {
    let (mut known, mut now) = start();
    known.apply_pod(pod_with(1, &[11]));
    known.add_cgroup(7, &path(1, Some(11)), now.0);
    known.delete_pod(&uid(1), now.0);
    assert_eq!(known.forget(KEEP, now.after(10_000)), Forgotten::default());
    assert_eq!(name(&known.owner_of_id(7, now.0)), "p1 c11");
    known.delete_pod("unknown", now.0);
    // Listed again: it was not deleted after all.
    known.set_pods(vec![pod_with(1, &[11])], now.0);
    assert!(known.pod_exists(&uid(1)));
}

/// A pod that restarts its containers without end: the last of them are remembered, and those of others.
#[test]
fn each_pod_has_its_own_memory() {
    let (mut known, mut now) = start();
    known.set_pods(vec![pod_with(1, &[]), pod_with(2, &[21])], now.0);
    known.add_cgroup(1_000_000, &path(2, Some(21)), now.0);
    known.remove_cgroup(1_000_000, now.0);
    let surplus = 10;
    for id in 0..REMEMBERED_EACH as u64 + surplus {
        known.add_cgroup(id, &path(1, Some(id)), now.0);
        known.remove_cgroup(id, now.after(0));
    }
    let forgotten = known.forget(KEEP, now.after(1));
    assert_eq!(forgotten.ids, (0..surplus).collect::<Vec<_>>());
    assert!(known.knows(1_000_000) && known.knows(surplus) && !known.knows(0));
    assert_eq!(known.forget(KEEP, now.after(1)), Forgotten::default());
}

#[test]
fn cgroups_of_containers_own_have_no_entry() {
    let (mut known, now) = start();
    for (id, cgroup) in [
        (1, "/".to_owned()),
        (2, "/kubepods".to_owned()),
        (3, "/kubepods/burstable".to_owned()),
        (4, path(1, None)),
        (5, path(1, Some(11))),
        (6, format!("{}/nested", path(1, Some(11)))),
        (7, path(2, None)),
    ] {
        known.add_cgroup(id, &cgroup, now.0);
    }
    known.remove_cgroup(7, now.0);
    let ids: Vec<u64> = known.cgroups(now.0).map(|(id, _)| id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    // What it counted before its pod was known is its container's.
    known.apply_pod(pod_with(1, &[11]));
    assert_eq!(name(&known.owner_of_id(6, now.0)), "p1 c11");
    assert_eq!(known.pod_cgroups(), PodCgroups { pods: vec![4], parents: vec![(2, 35), (3, 35)] });
    assert_eq!(known.remembered_pods(), HashSet::from([4, 7]));
}

#[test]
fn a_grace_is_never_cut_short() {
    let (mut known, mut now) = start();
    known.add_cgroup(7, &path(1, Some(11)), now.0);
    known.remove_cgroup(7, now.0);
    assert_eq!(known.forget(Duration::ZERO, now.after(60)).ids, [0; 0]);
    assert_eq!(known.forget(Duration::ZERO, now.after(1)).ids, [7]);
}

#[test]
fn an_id_that_comes_back_is_another_cgroup() {
    let (mut known, mut now) = start();
    known.set_pods(vec![pod_with(1, &[11]), pod_with(2, &[21])], now.0);
    known.add_cgroup(7, &path(1, Some(11)), now.0);
    let first = known.key(7);
    known.add_cgroup(7, &path(1, Some(11)), now.after(1));
    assert_eq!(known.key(7), first, "the same cgroup, seen twice");
    known.add_cgroup(7, &path(2, Some(21)), now.after(1));
    let second = known.key(7);
    assert_ne!(first, second);
    assert_eq!(name(&known.owner(first, now.0)), "p1 c11");
    assert_eq!(name(&known.owner_of_id(7, now.0)), "p2 c21");
    // Removed and made again under its old name: still another one.
    known.remove_cgroup(7, now.after(1));
    known.add_cgroup(7, &path(2, Some(21)), now.after(1));
    assert_ne!(known.key(7), second);
    assert_eq!(known.cgroups(now.0).count(), 1);
    let forgotten = known.forget(KEEP, now.after(1_000));
    // The counts of the id are the new cgroup's too.
    assert_eq!(forgotten, Forgotten { cgroups: vec![first, second], ids: Vec::new() });
    assert_eq!(name(&known.owner_of_id(7, now.0)), "p2 c21");
}

#[test]
fn a_mirror_pod_does_not_take_anothers_uid() {
    let (mut known, now) = start();
    let mirror = Pod { mirror: true, name: "mirror".to_owned(), ..pod_with(1, &[]) };
    known.add_cgroup(7, &path(1, None), now.0);
    known.set_pods(vec![mirror.clone(), pod_with(1, &[])], now.0);
    assert_eq!(name(&known.owner_of_id(7, now.0)), "p1 Unnamed");
    known.apply_pod(mirror.clone());
    assert_eq!(name(&known.owner_of_id(7, now.0)), "p1 Unnamed");
    let mut alone = start().0;
    alone.add_cgroup(7, &path(1, None), now.0);
    alone.set_pods(vec![mirror], now.0);
    assert_eq!(name(&alone.owner_of_id(7, now.0)), "mirror Unnamed");
}

#[test]
fn labels_follow_the_pod_and_earlier_runs_keep_their_names() {
    let (mut known, mut now) = start();
    known.apply_pod(pod_with(1, &[11]));
    known.add_cgroup(7, &path(1, Some(11)), now.0);
    let mut changed = pod_with(1, &[12, 13]);
    changed.labels.insert("org".to_owned(), "empire".to_owned());
    known.apply_pod(changed);
    let Owner::Container { pod, .. } = known.owner_of_id(7, now.0) else { panic!("known") };
    assert_eq!(pod.labels["org"], "empire");
    assert_eq!(name(&known.owner_of_id(7, now.0)), "p1 c11");
    // Without a cgroup there is nothing to name.
    known.remove_cgroup(7, now.0);
    known.forget(KEEP, now.after(1_000));
    known.apply_pod(pod_with(1, &[13]));
    assert_eq!(known.pods[uid(1).as_str()].pod.containers.len(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Add(u64, u64),
    Remove(u64),
    Pods(Vec<u64>),
    Wait(u64),
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..4u64, 0..4u64).prop_map(|(id, pod)| Step::Add(id, pod)),
        (0..4u64).prop_map(Step::Remove),
        prop::collection::vec(0..4u64, 0..4).prop_map(Step::Pods),
        (1..90u64).prop_map(Step::Wait),
        Just(Step::Forget),
    ];
    prop::collection::vec(step, 0..40)
}

proptest! {
    /// Whatever happens, in whatever order, a cgroup is only ever its own pod's.
    #[test]
    fn never_anothers(steps in steps()) {
        let (mut known, mut now) = start();
        let mut truth: BTreeMap<CgroupKey, u64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Add(id, pod) => {
                    known.add_cgroup(id, &path(pod, Some(pod)), now.0);
                    let key = known.key(id);
                    prop_assert!(truth.get(&key).is_none_or(|earlier| *earlier == pod));
                    truth.insert(key, pod);
                }
                Step::Remove(id) => known.remove_cgroup(id, now.0),
                Step::Pods(pods) => known.set_pods(pods.iter().map(|p| pod_with(*p, &[*p])).collect(), now.0),
                Step::Wait(seconds) => { now.after(seconds); }
                Step::Forget => for key in known.forget(KEEP, now.0).cgroups { truth.remove(&key); },
            }
            for (key, pod) in &truth {
                match known.owner(*key, now.0) {
                    Owner::Pending => {}
                    Owner::Unlisted { uid: got } => prop_assert_eq!(&*got, uid(*pod)),
                    owner => prop_assert_eq!(name(&owner), format!("p{pod} c{pod}")),
                }
            }
        }
    }
}

#[test]
fn the_grace_stands_still_while_pods_cannot_be_watched() {
    let (mut known, mut now) = start();
    known.add_cgroup(7, &path(1, Some(11)), now.0);
    known.add_cgroup(6, &path(3, Some(31)), now.0);
    assert!(!known.set_current(true, now.after(59)), "it was so before");
    known.add_cgroup(8, &path(2, Some(21)), now.0);
    assert!(known.set_current(false, now.0));
    // It ends while nothing is heard of it, and its counts are still there.
    known.remove_cgroup(6, now.0);
    for _ in 0..3 {
        assert_eq!(name(&known.owner_of_id(7, now.after(3_600))), "pending");
        assert_eq!(known.forget(KEEP, now.0), Forgotten::default());
    }
    known.add_cgroup(9, &path(4, Some(41)), now.after(3_600));
    assert!(known.set_current(true, now.after(3_600)));
    known.apply_pod(pod_with(3, &[31]));
    assert_eq!(name(&known.owner_of_id(6, now.0)), "p3 c31");
    // What was left of the grace is left.
    assert_eq!(name(&known.owner_of_id(7, now.0)), "pending");
    assert_eq!(name(&known.owner_of_id(7, now.after(1))), format!("unlisted {}", uid(1)));
    assert_eq!(name(&known.owner_of_id(8, now.after(58))), "pending");
    assert_eq!(name(&known.owner_of_id(9, now.0)), "pending");
    assert_eq!(name(&known.owner_of_id(8, now.after(1))), format!("unlisted {}", uid(2)));
    assert_eq!(known.forget(KEEP, now.0).ids, [6]);
}
