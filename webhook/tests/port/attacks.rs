//! Clients that know no secret, and objects that are made to cost much.

use std::time::{Duration, Instant};

use gatewatch_webhook::{caches::watch::Change, stored_policy::StoredPolicy};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::server::{SECRET, Server, at, bad_policy, review};

#[tokio::test]
async fn a_request_without_the_secret_is_refused_before_its_body() {
    let server = Server::start();
    for path in [
        "/validate/policies",
        "/validate/policies/",
        "/validate/policies/2f4a9d60c3b58e18",
        "/validate/workloads/x",
    ] {
        let mut stream = server.connect().await.unwrap();
        // The body never arrives.
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 7000000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        let read = tokio::time::timeout(Duration::from_secs(2), stream.read_exact(&mut answer)).await;
        read.unwrap_or_else(|_| panic!("{path}: no answer before the body")).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 404", "{path}");
    }
    assert!(server.metrics.render().unwrap().contains("bad_requests_total{reason=\"secret\"} 4"));
    server.is_well().await;
}

#[tokio::test]
async fn both_secrets_are_accepted_during_a_rotation() {
    let server = Server::start();
    server.paths.replace(vec![SECRET.to_owned(), "next".to_owned()]);
    server.is_well().await;
    assert_eq!(server.post("/validate/policies/next", b"{}").await.0, 400);
    server.paths.replace(vec!["next".to_owned()]);
    assert_eq!(server.post("/validate/policies/next", b"{}").await.0, 400);
    assert_eq!(server.post(&at("/validate/policies"), b"{}").await.0, 404);
}

/// Words that are similar to each other.
fn similar(count: usize, suffix: &str) -> impl Iterator<Item = String> {
    let letter = |n: usize| char::from(b"abcdefghijklmnop"[n % 16]);
    (0..count).map(move |i| format!("{}{}{}{suffix}", letter(i), letter(i / 16), letter(i / 256)))
}

/// 2,000 labels against 2,000 policies that select by similar keys.
#[tokio::test]
async fn a_large_object_delays_no_other_request() {
    let server = Server::start();
    let policies = similar(2000, "empire").enumerate().map(|(i, value)| {
        let mut policy = bad_policy();
        policy["metadata"]["name"] = json!(format!("p{i}"));
        policy["spec"]["podSelector"] = json!({"matchLabels": {value: "x"}});
        StoredPolicy::read(&policy).unwrap()
    });
    server.cluster.policies_changed(Change::Reset(policies.collect()), false);
    server.cluster.assume_synced();
    let labels: serde_json::Map<String, Value> =
        similar(2000, "emqire").map(|value| (value, json!("x"))).collect();
    let review = review("Pod", "", &json!({"metadata": {"labels": labels}}));
    let begun = Instant::now();
    // This runtime has one thread. A decision that ran on it would delay everything else.
    let (answer, ()) = tokio::join!(server.review("/validate/workloads", &review), async {
        for _ in 0..5 {
            let start = Instant::now();
            assert_eq!(server.post("/validate/policies/x", b"").await.0, 404);
            assert!(start.elapsed() < Duration::from_millis(700), "{:?}", start.elapsed());
        }
    });
    // The API server waits for 3 s. This program is not optimized.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let warnings = answer["response"]["warnings"].to_string();
    assert!(warnings.contains("not checked: label typos"), "{answer}");
    let metrics = server.metrics.render().unwrap();
    assert!(metrics.contains("gatewatch_admission_unchecked_total{check=\"label typos\"} 1"), "{metrics}");
}

/// Hooks of functions that no kernel has: each is compared with the names of all functions.
#[tokio::test]
async fn a_policy_of_many_hooks_is_answered_in_time() {
    let server = Server::start();
    let mut policy = bad_policy();
    let hooks: Vec<Value> = (0..5000)
        .map(|i| json!({"call": format!("securty_file_permission_{i}"), "syscall": false, "message": "ok"}))
        .collect();
    policy["spec"]["kprobes"] = json!(hooks);
    let begun = Instant::now();
    let answer = server.review("/validate/policies", &review("TracingPolicy", "cilium.io", &policy)).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(answer["response"]["warnings"].to_string().contains("not checked: kernels"), "{answer}");
}

/// Four reviews of the greatest size are being sent. Another one waits for its memory, and is answered once one of them has
/// ended.
#[tokio::test]
async fn bodies_in_memory_are_bounded() {
    let server = Server::start();
    let mut large = Vec::new();
    for _ in 0..4 {
        let mut stream = server.connect().await.unwrap();
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            at("/validate/policies"),
            7 << 20
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(b"{").await.unwrap();
        large.push(stream);
    }
    // They have been read as far as they came.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let path = at("/validate/policies");
    let small = server.post(&path, b"{}");
    tokio::pin!(small);
    assert!(
        tokio::time::timeout(Duration::from_secs(1), &mut small).await.is_err(),
        "answered without memory"
    );
    // Nothing else waits.
    assert_eq!(server.post("/validate/policies/x", b"").await.0, 404);
    drop(large.pop());
    let answer = tokio::time::timeout(Duration::from_secs(5), small).await;
    assert_eq!(answer.expect("an answer").0, 400);
}
