//! What a series takes in memory. In a process of its own, which nothing else grows.
#![allow(clippy::unwrap_used, reason = "what fails ends the test")]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use gatewatch_agent::{
    attribution::{Attribution, Forgotten},
    pods::{Pod, Workload},
    series::{Count, Hook, Hooks, Series, SeriesLimits},
};
use gatewatch_policy::plan::{HookPoint, PodScope, Scope, When};

const PODS: u64 = 1_000;
const POLICIES: u32 = 100;

/// Bytes of this process's memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn pod(number: u64) -> Pod {
    Pod {
        uid: format!("00000000-0000-4000-8000-{number:012x}"),
        namespace: "test".to_owned(),
        name: format!("pod-{number}"),
        labels: BTreeMap::new(),
        workload: Workload { kind: "Deployment".to_owned(), name: format!("workload-{number}") },
        containers: Vec::new(),
        host_network: false,
        mirror: false,
    }
}

fn counts(value: u64) -> impl Iterator<Item = Count<'static>> {
    (1..=POLICIES).flat_map(move |hook| {
        (1..=PODS).map(move |cgroup| Count { hook, cgroup, binary: 1, path: b"/usr/bin/program", value })
    })
}

/// A node has tens of thousands of series, so each byte of one counts. A hash map is between half and seven eighths full;
/// here it is three quarters. Each series here is the only one of its policy and pod, so the table of how many these have,
/// which is the smaller the more programs a pod runs, is as large as it can be: 22 of the bytes.
#[test]
fn a_series_takes_little() {
    let now = Instant::now();
    let scope = Arc::new(Scope { host: true, pods: Some(PodScope::default()) });
    let hook = |number: u32| Hook {
        policy: format!("policy-{number}").into(),
        namespace: None,
        point: Arc::new(HookPoint::Function { symbol: "__sys_setuid".to_owned(), when: When::Entry }),
        scope: scope.clone(),
    };
    let hooks: Hooks = (1..=POLICIES).map(|number| (number, hook(number))).collect();
    let mut known = Attribution::new(Duration::from_mins(1));
    for number in 1..=PODS {
        known.apply_pod(pod(number));
        let path = format!("/kubepods/besteffort/pod{}", pod(number).uid);
        known.add_cgroup(number, &path, now);
    }
    let mut series = Series::new(SeriesLimits { per_policy: usize::MAX, per_pod: usize::MAX });
    let before = resident();
    let mut left = Vec::new();
    for _ in 0..3 {
        for value in 1..=3 {
            assert_eq!(series.fold(counts(value), &hooks, &known, now).pending, 0);
        }
        let all = resident() - before;
        let samples = series.samples(now);
        let sum = samples.iter().map(|sample| sample.value).sum::<u64>();
        assert_eq!((samples.len(), sum), (100_000, 300_000));
        // Later rounds find what the allocator has kept of the first.
        if left.is_empty() {
            let each = all / (PODS * u64::from(POLICIES));
            println!("{each} bytes a series");
            assert!(each <= 150, "{each} bytes a series");
        }
        drop(samples);
        series.fold([], &Hooks::new(), &known, now);
        series.forget(&Forgotten::default());
        left.push(resident().saturating_sub(before));
    }
    // What was needed for them goes with them, but for what the allocator keeps at the end of its heap, and that doesn't
    // grow: the samples were 5 MiB, the series 14.
    println!("{left:?} bytes are left");
    assert!(left.iter().all(|left| *left < 6 << 20), "{left:?} bytes are left");
    assert!(left[2] <= left[0].max(left[1]) + (256 << 10), "{left:?} bytes are left");
}
