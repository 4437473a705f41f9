//! `gatewatch top`, asked without a terminal.
#![allow(clippy::unwrap_used, reason = "a test ends where it cannot continue")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    process::{Command, Output},
    thread,
};

/// Serves metrics in which the count goes up by ten from one answer to the next.
fn agent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (answer, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let head =
                BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            assert!(head.collect::<String>().starts_with("GET /metrics HTTP/1.1"));
            let text = format!(
                "tetragon_policy_events_total{{binary=\"/usr/bin/sudo\",policy=\"sudo-invocations\"}} {}\n",
                10 * (answer + 1)
            );
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
                text.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

fn top(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gatewatch")).arg("top").args(arguments).output().unwrap()
}

#[test]
fn two_looks_make_a_table() {
    let (one, other) = (agent().to_string(), agent().to_string());
    let output = top(&["--once", "--interval", "200ms", "--by", "binary", &one, &other]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["BINARY", "EVENTS/S", "EVENTS"]);
    assert_eq!((lines[1][0], lines[1][2]), ("/usr/bin/sudo", "40"));
    let rate: f64 = lines[1][1].parse().unwrap();
    assert!(rate > 0.0 && rate <= 101.0, "{text}");
}

#[test]
fn an_agent_that_does_not_answer_is_an_error() {
    let output = top(&["--once", "--interval", "100ms", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("http://127.0.0.1:1/metrics returns no metrics"), "{text}");
}

#[test]
fn wrong_options_are_explained() {
    let output = top(&["--interval", "0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("expected 100ms to 1h"));
    let output = top(&["--once", "https://localhost/metrics"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("kubectl port-forward"));
}
