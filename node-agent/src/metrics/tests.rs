use std::collections::HashSet;

use super::*;
use crate::series::{Labels, Sample, binary_label};

/// A source whose answer is fixed.
pub(crate) struct Fixed {
    pub(crate) snapshot: Snapshot,
    pub(crate) ready: bool,
}

impl Source for Fixed {
    fn snapshot(&self) -> Snapshot {
        self.snapshot.clone()
    }

    fn ready(&self) -> Result<(), String> {
        if self.ready { Ok(()) } else { Err("the policies are being loaded".to_owned()) }
    }
}

pub(crate) fn sample<'a>(binary: &'a str, pod: &'a str, value: u64) -> Sample<'a> {
    Sample {
        labels: Labels {
            binary,
            hook: "kprobe:__x64_sys_execve",
            namespace: if pod.is_empty() { "" } else { "test" },
            pod,
            policy: "sudo-invocations",
            workload: pod,
        },
        value,
    }
}

fn render(snapshot: Snapshot) -> String {
    super::render(&Fixed { snapshot, ready: true })
}

/// Lines that begin with this.
fn lines<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(start)).collect()
}

fn policy(name: &str, state: PolicyState, reason: &'static str) -> PolicyStatus {
    PolicyStatus {
        name: name.to_owned(),
        namespace: None,
        state,
        reason: reason.into(),
        sentence: String::new(),
        generation: None,
        kernel_memory_bytes: None,
        partial: false,
        enforcement: None,
    }
}

#[test]
fn the_counter_is_as_people_know_it() {
    let text = render(Snapshot {
        samples: [sample("/usr/bin/touch", "tiefighter", 12_345_678_901), sample("/usr/bin/sudo", "", 1)]
            .into_iter()
            .collect(),
        ..Snapshot::default()
    });
    let at = text.find("# HELP tetragon_policy_events_total").unwrap();
    let end = text.find("# HELP tetragon_tracingpolicy_loaded").unwrap();
    assert_eq!(
        &text[at..end],
        r#"# HELP tetragon_policy_events_total Policy events calls observed.
# TYPE tetragon_policy_events_total counter
tetragon_policy_events_total{binary="/usr/bin/sudo",hook="kprobe:__x64_sys_execve",namespace="",pod="",policy="sudo-invocations",workload=""} 1
tetragon_policy_events_total{binary="/usr/bin/touch",hook="kprobe:__x64_sys_execve",namespace="test",pod="tiefighter",policy="sudo-invocations",workload="tiefighter"} 12345678901
"#
    );
}

#[test]
fn own_metrics() {
    let hook = |policy: &str, value| HookSample { policy: policy.into(), hook: "kprobe:f".into(), value };
    let text = render(Snapshot {
        policies: vec![
            policy("a", PolicyState::Running, ""),
            PolicyStatus { kernel_memory_bytes: Some(4096), ..policy("b", PolicyState::Running, "") },
            PolicyStatus {
                namespace: Some("test".to_owned()),
                ..policy("b", PolicyState::Rejected, "GW201")
            },
        ],
        overflow: vec![hook("a", 0), hook("b", 7)],
        missed: vec![hook("a", 2)],
        unattributed: vec![hook("a", 4)],
        gap_milliseconds: vec![hook("a", 1_500)],
        pending_events: 5,
        maps: vec![MapFill { map: "COUNTS", entries: 3, capacity: 65_536 }],
        left_out: vec![("cgroups", 3)],
        policy_set_hash: "0123".to_owned(),
        source_problems: 1,
        ..Snapshot::default()
    });
    for line in [
        r#"gatewatch_policies{state="running"} 2"#,
        r#"gatewatch_policies{state="refused"} 1"#,
        r#"gatewatch_policies{state="failed"} 0"#,
        r#"gatewatch_policy_info{namespace="",policy="a",reason="",state="running"} 1"#,
        r#"gatewatch_policy_info{namespace="test",policy="b",reason="GW201",state="refused"} 1"#,
        r#"gatewatch_policy_kernel_memory_bytes{namespace="",policy="b"} 4096"#,
        r#"gatewatch_events_overflow_total{hook="kprobe:f",policy="a"} 0"#,
        r#"gatewatch_events_overflow_total{hook="kprobe:f",policy="b"} 7"#,
        r#"gatewatch_events_missed_total{hook="kprobe:f",policy="a"} 2"#,
        r#"gatewatch_events_unattributed_total{hook="kprobe:f",policy="a"} 4"#,
        r#"gatewatch_gap_seconds_total{hook="kprobe:f",policy="a"} 1.5"#,
        "gatewatch_attribution_pending_events 5",
        r#"gatewatch_map_entries{map="COUNTS"} 3"#,
        r#"gatewatch_map_capacity{map="COUNTS"} 65536"#,
        r#"gatewatch_left_out_total{what="cgroups"} 3"#,
        "gatewatch_source_problems 1",
        concat!(r#"gatewatch_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
        r#"gatewatch_policy_set_info{hash="0123"} 1"#,
    ] {
        assert_eq!(lines(&text, line), [line], "{text}");
    }
    let duration = lines(&text, "gatewatch_scrape_duration_seconds ")[0].rsplit_once(' ').unwrap().1;
    assert!((0.0..10.0).contains(&duration.parse::<f64>().unwrap()));
    let families: Vec<_> = lines(&text, "# HELP ");
    assert!(families.is_sorted(), "{families:?}");
    // Every metric has its description.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(
            text.contains(&format!("# HELP {name} ")) && text.contains(&format!("# TYPE {name} ")),
            "{name}"
        );
    }
}

#[test]
fn policies_are_counted_by_the_states_that_tetragon_has() {
    let running = policy("a", PolicyState::Running, "");
    let text = render(Snapshot {
        policies: vec![
            running.clone(),
            PolicyStatus { partial: true, ..running.clone() },
            PolicyStatus { namespace: Some("test".to_owned()), ..running },
            policy("b", PolicyState::Rejected, "GW201"),
            // What runs as it was before has an error all the same.
            PolicyStatus { partial: true, ..policy("c", PolicyState::Failed, "load") },
            policy("d", PolicyState::Skipped, "nodeSelector"),
        ],
        ..Snapshot::default()
    });
    let at = text.find("# HELP tetragon_tracingpolicy_loaded").unwrap();
    assert_eq!(
        &text[at..],
        r#"# HELP tetragon_tracingpolicy_loaded The number of loaded tracing policy by state.
# TYPE tetragon_tracingpolicy_loaded gauge
tetragon_tracingpolicy_loaded{state="disabled"} 0
tetragon_tracingpolicy_loaded{state="enabled"} 2
tetragon_tracingpolicy_loaded{state="error"} 0
tetragon_tracingpolicy_loaded{state="load_error"} 2
tetragon_tracingpolicy_loaded{state="partially_enabled"} 1
tetragon_tracingpolicy_loaded{state="skipped"} 1
"#
    );
}

#[test]
fn hostile_names_stay_on_their_line() {
    let evil = binary_label(b"/tmp/x\"} 9\nfake_total{a=\"b\\ \xff\x1b");
    let text =
        render(Snapshot { samples: [sample(&evil, "", 1)].into_iter().collect(), ..Snapshot::default() });
    assert_eq!(lines(&text, "fake_total"), [""; 0]);
    assert_eq!(
        lines(&text, "tetragon_policy_events_total"),
        [
            r#"tetragon_policy_events_total{binary="/tmp/x\"} 9\nfake_total{a=\"b\\ \\xff\\x1b",hook="kprobe:__x64_sys_execve",namespace="",pod="",policy="sudo-invocations",workload=""} 1"#
        ]
    );
}

#[test]
fn no_series_twice() {
    let twice = policy("a", PolicyState::Rejected, "GW001");
    let text = render(Snapshot {
        samples: [sample("/a", "", 1), sample("/a", "", 2)].into_iter().collect(),
        policies: vec![twice.clone(), twice],
        ..Snapshot::default()
    });
    let series: Vec<_> =
        text.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.rsplit_once(' ')).collect();
    let distinct: HashSet<_> = series.iter().map(|(labels, _)| labels).collect();
    assert_eq!(series.len(), distinct.len(), "{text}");
    assert!(lines(&text, "tetragon_policy_events_total")[0].ends_with("} 3"));
    assert!(lines(&text, "gatewatch_policies{state=\"refused\"}")[0].ends_with("} 2"));
}

#[test]
fn helps_need_no_escape() {
    assert!(METRICS.iter().all(|metric| !metric.help.contains(['\\', '\n'])));
}

#[test]
fn labels_are_sorted() {
    for metric in METRICS {
        assert!(metric.labels.is_sorted(), "{}", metric.name);
        let of_tetragon = [EVENTS.name, LOADED.name, ACTIONS.name];
        assert!(metric.name.starts_with("gatewatch_") || of_tetragon.contains(&metric.name));
        assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
    }
}

#[test]
fn an_idle_agent_has_its_own_metrics() {
    let text = render(Snapshot::default());
    assert_eq!(lines(&text, "tetragon_policy_events_total"), [""; 0]);
    assert_eq!(lines(&text, "gatewatch_policies").len(), 4);
    assert_eq!(lines(&text, "tetragon_tracingpolicy_loaded").len(), 6);
}
