//! OTLP: a receiver gets every record once, also if it is away for a while.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are not tests to clippy")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, mpsc::Sender},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use gatewatch_events::{
    Action, Container, Event, Image, Pod, Timestamp,
    event::Body,
    hook::{Kprobe, Match},
};
use gatewatch_export::{ExportOptions, Outputs, Reason, Tally};
use serde_json::Value;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    export: ExportOptions,
}

fn start(endpoint: &str) -> Outputs {
    let command = Command::try_parse_from(["test", "--export-otlp", endpoint, "--event-queue-size", "100"]);
    Outputs::start(&command.unwrap().export).unwrap()
}

/// A collector that answers its requests with these statuses, one after the other, and then with 200.
fn receive(listener: &TcpListener, mut statuses: Vec<u16>, taken: &Sender<Value>) {
    for stream in listener.incoming() {
        let mut stream = BufReader::new(stream.unwrap());
        loop {
            let mut length = 0;
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                let header = line.to_ascii_lowercase();
                if let Some(value) = header.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if header.starts_with("post") {
                    assert!(header.starts_with("post /v1/logs "), "{header}");
                }
                line.clear();
            }
            if length == 0 {
                break;
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let status = if statuses.is_empty() { 200 } else { statuses.remove(0) };
            if status == 200 && taken.send(serde_json::from_slice(&body).unwrap()).is_err() {
                return;
            }
            let answer = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{{}}"
            );
            if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                break;
            }
        }
    }
}

fn event(seq: u64) -> Event {
    let mut body = Kprobe {
        matched: Match { policy_name: "net".to_owned(), action: Action::Sigkill, ..Match::default() },
        ..Kprobe::default()
    };
    let container = Container {
        id: "containerd://abc".to_owned(),
        image: Some(Image::new("r/a@sha256:1", "r/a:1")),
        ..Container::default()
    };
    body.processes.process.pid = Some(42);
    body.processes.process.pod = Some(Box::new(Pod {
        namespace: "web".to_owned(),
        name: "api".to_owned(),
        workload: "api".to_owned(),
        workload_kind: "Deployment".to_owned(),
        container: Some(Box::new(container)),
        ..Pod::default()
    }));
    let mut event = Event::new(Body::ProcessKprobe(Box::new(body)), Timestamp(1_700_000_000_000_000_001));
    "node-a".clone_into(&mut event.node_name);
    event.seq = seq;
    event
}

fn attribute<'a>(attributes: &'a Value, key: &str) -> &'a Value {
    let found = attributes.as_array().unwrap().iter().find(|attribute| attribute["key"] == key);
    &found.unwrap_or_else(|| panic!("no {key} in {attributes}"))["value"]
}

fn numbers(request: &Value) -> Vec<u64> {
    let logs = request["resourceLogs"].as_array().unwrap().iter();
    let records = logs.flat_map(|logs| logs["scopeLogs"][0]["logRecords"].as_array().unwrap());
    records
        .map(|record| {
            attribute(&record["attributes"], "gatewatch.seq")["intValue"].as_str().unwrap().parse().unwrap()
        })
        .collect()
}

#[test]
fn a_receiver_that_was_away_gets_every_record_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let outputs = start(&address);
    let tally = Arc::new(Tally::default());
    for seq in 1..=20 {
        outputs.send(event(seq), &tally);
    }
    let failing = || outputs.states()[0].failure.clone();
    let deadline = Instant::now() + Duration::from_mins(1);
    while failing().is_none() {
        assert!(Instant::now() < deadline, "no failure is reported");
        thread::sleep(Duration::from_millis(10));
    }
    assert!(failing().unwrap().starts_with(&format!("cannot reach http://{address}/v1/logs")));
    assert_eq!(tally.written(), 0);
    let listener = TcpListener::bind(&address).unwrap();
    let (sender, taken) = std::sync::mpsc::channel();
    thread::spawn(move || receive(&listener, vec![503, 429], &sender));
    let mut got = Vec::new();
    while got.len() < 20 {
        got.extend(numbers(&taken.recv_timeout(Duration::from_mins(1)).unwrap()));
    }
    assert_eq!(got, (1..=20).collect::<Vec<_>>());
    outputs.stop(Duration::from_secs(30));
    assert!(taken.try_recv().is_err(), "a record came twice");
    assert_eq!(tally.written(), 20);
    assert_eq!(failing(), None);
}

#[test]
fn logs_follow_the_conventions() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let outputs = start(&listener.local_addr().unwrap().to_string());
    let (sender, taken) = std::sync::mpsc::channel();
    thread::spawn(move || receive(&listener, Vec::new(), &sender));
    let tally = Arc::new(Tally::default());
    outputs.send(event(7), &tally);
    let request = taken.recv_timeout(Duration::from_mins(1)).unwrap();
    let logs = &request["resourceLogs"][0];
    for (key, expected) in [
        ("service.name", "gatewatch"),
        ("k8s.node.name", "node-a"),
        ("k8s.namespace.name", "web"),
        ("k8s.deployment.name", "api"),
        ("container.id", "abc"),
        ("container.image.name", "r/a:1"),
    ] {
        assert_eq!(attribute(&logs["resource"]["attributes"], key)["stringValue"], expected);
    }
    let record = &logs["scopeLogs"][0]["logRecords"][0];
    assert_eq!(record["timeUnixNano"], "1700000000000000001");
    assert_eq!(record["severityText"], "ERROR");
    assert_eq!(record["eventName"], "gatewatch.process_kprobe");
    assert_eq!(attribute(&record["attributes"], "process.pid")["intValue"], "42");
    assert_eq!(attribute(&record["attributes"], "gatewatch.action")["stringValue"], "SIGKILL");
    let body = &record["body"]["kvlistValue"]["values"];
    assert_eq!(attribute(body, "node_name")["stringValue"], "node-a");
    // Another process has a log of its own resource.
    let exec = Event::new(Body::ProcessExec(Box::default()), Timestamp(1));
    outputs.send(exec, &tally);
    let request = taken.recv_timeout(Duration::from_mins(1)).unwrap();
    assert_eq!(request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["severityText"], "INFO");
    outputs.stop(Duration::from_secs(30));
}

#[test]
fn a_refusal_and_a_receiver_that_stays_away_are_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let outputs = start(&address);
    let (sender, _taken) = std::sync::mpsc::channel();
    thread::spawn(move || receive(&listener, vec![400], &sender));
    let tally = Arc::new(Tally::default());
    outputs.send(event(1), &tally);
    let deadline = Instant::now() + Duration::from_mins(1);
    while tally.not_written(Reason::OutputFailed) == 0 {
        assert!(Instant::now() < deadline, "the rejection is not counted");
        thread::sleep(Duration::from_millis(10));
    }
    outputs.stop(Duration::from_secs(30));

    // Nothing listens at a port that was just closed.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let outputs = start(&closed);
    let tally = Arc::new(Tally::default());
    for seq in 0..1000 {
        outputs.send(event(seq), &tally);
    }
    outputs.stop(Duration::from_secs(30));
    let lost = [Reason::QueueFull, Reason::OutputFailed].map(|reason| tally.not_written(reason));
    assert_eq!(lost.iter().sum::<u64>(), 1000, "{lost:?}");
    assert!(lost[0] > 0 && lost[1] > 0, "{lost:?}");
}
