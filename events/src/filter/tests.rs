use super::*;
use crate::{
    event::{Body, Exec},
    hook::{Kprobe, Match},
    pod::{Container, Pod},
    process::Capabilities,
    time::Timestamp,
};

/// A record of a process in the pod `web/api-0`, with the label `app=web`.
fn in_pod() -> Event {
    let container = Container { name: "main".to_owned(), ..Container::default() };
    let pod = Pod {
        namespace: "web".to_owned(),
        name: "api-0".to_owned(),
        container: Some(Box::new(container)),
        pod_labels: [("app".to_owned(), "web".to_owned())].into(),
        ..Pod::default()
    };
    let mut event = on_host();
    let processes = event.processes_mut().unwrap();
    processes.process.pod = Some(Box::new(pod));
    processes.process.pod_status = PodStatus::Unspecified;
    processes.process.docker = "0123456789abcdef0123456789abcde".to_owned();
    event
}

fn on_host() -> Event {
    let mut body =
        Kprobe { matched: Match { policy_name: "net".to_owned(), ..Match::default() }, ..Kprobe::default() };
    body.processes.process = Process {
        pid: Some(42),
        binary: "/usr/bin/curl".to_owned(),
        arguments: "-s https://example.org".to_owned(),
        pod_status: PodStatus::Host,
        in_init_tree: Some(false),
        cap: Some(Capabilities { effective: CapabilitySet::new(0b110), ..Capabilities::default() }),
        ..Process::default()
    };
    body.processes.parent = Some(Box::new(Process { binary: "/bin/sh".to_owned(), ..Process::default() }));
    Event::new(Body::ProcessKprobe(Box::new(body)), Timestamp(1))
}

fn unresolved() -> Event {
    let mut event = on_host();
    event.processes_mut().unwrap().process.pod_status = PodStatus::Unresolved;
    event
}

fn allows(filter: &str, event: &Event) -> bool {
    let allow = Filters::parse(filter, "").unwrap().pass(event);
    let deny = Filters::parse("", filter).unwrap().pass(event);
    assert_eq!(allow, !deny, "{filter}");
    allow
}

#[test]
fn fields_have_tetragons_meanings() {
    for (filter, pod, host) in [
        (r#"{"binary_regex":["curl$"]}"#, true, true),
        (r#"{"binaryRegex":["^curl"]}"#, false, false),
        (r#"{"arguments_regex":["wget","-s"]}"#, true, true),
        (r#"{"parent_binary_regex":["/sh$"]}"#, true, true),
        (r#"{"ancestor_binary_regex":["/sh$"]}"#, false, false),
        (r#"{"namespace":["web"]}"#, true, false),
        (r#"{"namespace":["",  "db"]}"#, false, true),
        (r#"{"namespace_regex":["^w"]}"#, true, false),
        (r#"{"pod_regex":["api"]}"#, true, false),
        (r#"{"container_name_regex":["main"]}"#, true, false),
        (r#"{"container_id":["^0123"]}"#, true, false),
        (r#"{"labels":["app=web"]}"#, true, false),
        (r#"{"labels":["app in (db, web),!canary"]}"#, true, false),
        (r#"{"labels":["app!=web","tier"]}"#, false, false),
        (r#"{"labels":["app notin (db)"]}"#, true, false),
        (r#"{"policy_names":["net"]}"#, true, true),
        (r#"{"policy_names":["file"]}"#, false, false),
        (r#"{"event_set":["PROCESS_KPROBE"]}"#, true, true),
        (r#"{"event_set":[1, 5]}"#, false, false),
        (r#"{"pid":[42]}"#, true, true),
        (r#"{"health_check":true}"#, false, false),
        (r#"{"health_check":false}"#, true, true),
        (r#"{"in_init_tree":false}"#, true, true),
        (r#"{"capabilities":{"effective":{"any":["CAP_CHOWN","CAP_DAC_READ_SEARCH"]}}}"#, true, true),
        (r#"{"capabilities":{"effective":{"all":["CAP_CHOWN","CAP_DAC_READ_SEARCH"]}}}"#, false, false),
        (r#"{"capabilities":{"effective":{"exactly":["DAC_OVERRIDE","CAP_DAC_READ_SEARCH"]}}}"#, true, true),
        (r#"{"capabilities":{"permitted":{"none":["CAP_CHOWN"]}}}"#, true, true),
        (r#"{"namespace":["web"],"pid":[1]}"#, false, false),
        ("{\"pid\":[1]}\n{\"namespace\":[\"web\"]}\n", true, false),
        (r#"{"pid":[]}"#, true, true),
    ] {
        assert_eq!(allows(filter, &in_pod()), pod, "in a pod: {filter}");
        assert_eq!(allows(filter, &on_host()), host, "on the host: {filter}");
    }
}

#[test]
fn an_unresolved_pod_is_not_the_host() {
    let (host, unresolved) = (on_host(), unresolved());
    for (filter, expected) in [
        (r#"{"namespace":[""]}"#, (true, false)),
        (r#"{"namespace_regex":["^$"]}"#, (true, false)),
        (r#"{"pod_status":["host"]}"#, (true, false)),
        (r#"{"pod_status":["unresolved"]}"#, (false, true)),
        (r#"{"pod_status":["host","unresolved"]}"#, (true, true)),
    ] {
        assert_eq!((allows(filter, &host), allows(filter, &unresolved)), expected, "{filter}");
    }
}

#[test]
fn deny_wins_and_nothing_is_everything() {
    let event = in_pod();
    assert!(Filters::parse("", " \n").unwrap().pass(&event));
    assert!(!Filters::parse(r#"{"pid":[42]}"#, r#"{"namespace":["web"]}"#).unwrap().pass(&event));
    let exec = Event::new(Body::ProcessExec(Box::new(Exec::default())), Timestamp(0));
    assert!(!allows(r#"{"policy_names":["net"]}"#, &exec));
}

#[test]
fn a_filter_that_cannot_be_used_says_why() {
    for (text, message) in [
        ("{\"pid\":[1]}\n{\"bin_regex\":[\"a\"]}", "filter 2: `bin_regex`: unknown field"),
        (r#"{"binary_regexx":["a"]}"#, "did you mean `binary_regex`?"),
        (r#"{"cel_expression":["true"]}"#, "filter 1: `cel_expression`: Gatewatch does not evaluate CEL"),
        (r#"{"pidSet":[1]}"#, "filter 1: `pidSet`: Gatewatch does not follow descendants"),
        (r#"{"binary_regex":["("]}"#, "invalid regular expression"),
        (r#"{"namespace":"web"}"#, "expected a list of names"),
        (r#"{"event_set":["EXEC"]}"#, "unknown kind \"EXEC\""),
        (r#"{"labels":["a b"]}"#, "invalid requirement \"a b\""),
        (r#"{"labels":["a in (b"]}"#, "invalid requirement"),
        (r#"{"pod_status":["none"]}"#, "expected `host` or `unresolved`"),
        (r#"{"capabilities":{"effective":{"any":["CAP_NEW"]}}}"#, "unknown capability"),
        (r#"{"capabilities":{"effective":{}}}"#, "exactly one of"),
        ("binary_regex", "expected one JSON object per line"),
    ] {
        let error = Filters::parse(text, "").unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
