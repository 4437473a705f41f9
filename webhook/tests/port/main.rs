//! The port that the API server calls, met with what no API server sends: a clear answer or a closed connection, and
//! the next request is served.
#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod attacks;
mod server;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use gatewatch_webhook::tls::authority::Settings;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use self::server::{SECRET, Server, at, bad_policy, pair, review, settings};

#[tokio::test]
async fn all_errors_come_at_once_before_any_cache_is_filled() {
    let server = Server::start();
    let answer =
        server.review("/validate/policies", &review("TracingPolicy", "cilium.io", &bad_policy())).await;
    let response = &answer["response"];
    assert_eq!((&response["uid"], &response["allowed"]), (&json!("u"), &json!(false)));
    let status = &response["status"];
    assert_eq!((&status["code"], &status["reason"]), (&json!(422), &json!("Invalid")));
    let causes = status["details"]["causes"].as_array().unwrap();
    let fields: Vec<_> = causes.iter().map(|cause| cause["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["spec.kprobes[0].selectors[0].matchArgs[0].index", "spec.kprobes[1].call"]);
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with("2 errors\n  GW303 spec.kprobes[0]"), "{message}");
    assert!(message.contains("did you mean `security_file_permission`"), "{message}");
    assert!(response["warnings"][0].as_str().unwrap().contains("coverage was not checked"), "{response}");
}

#[tokio::test]
async fn what_is_no_review_has_a_clear_answer() {
    let server = Server::start();
    let mut old = review("Pod", "", &json!({}));
    old["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let old = serde_json::to_vec(&old).unwrap();
    let (policies, workloads) = (&at("/validate/policies"), &at("/validate/workloads"));
    let cases: [(&str, &[u8], u16, &str); 5] = [
        (policies, b"<html>", 400, "not JSON"),
        (policies, b"", 400, "not JSON"),
        (workloads, &old, 400, "v1beta1"),
        (workloads, b"{}", 400, "without apiVersion"),
        ("/other", b"{}", 404, "/validate/policies"),
    ];
    for (path, body, status, text) in cases {
        let answer = server.post(path, body).await;
        assert_eq!(answer.0, status, "{path}: {answer:?}");
        assert!(answer.1.contains(text), "{path}: {answer:?}");
    }
    server.is_well().await;
}

#[tokio::test]
async fn other_kinds_are_admitted_with_a_word() {
    let server = Server::start();
    for (path, kind) in [("/validate/policies", "Service"), ("/validate/workloads", "Service")] {
        let answer = server.review(path, &review(kind, "", &json!({"spec": "text"}))).await;
        assert_eq!(answer["response"]["allowed"], true);
        assert!(answer["response"]["warnings"][0].as_str().unwrap().contains("Service"), "{answer}");
    }
    let odd = server.review("/validate/workloads", &review("Pod", "", &json!({"metadata": "text"}))).await;
    assert_eq!(odd["response"]["allowed"], true);
    assert!(odd["response"]["warnings"][0].as_str().unwrap().contains("cannot read"), "{odd}");
}

#[tokio::test]
async fn large_objects() {
    let server = Server::start();
    let labels: serde_json::Map<String, Value> = (0..10_000).map(|i| (format!("k{i}"), json!("v"))).collect();
    let answer = server
        .review("/validate/workloads", &review("Pod", "", &json!({"metadata": {"labels": labels}})))
        .await;
    assert_eq!(answer["response"]["allowed"], true);
    // An object of 3 MiB is accepted, and a larger one than any API server sends is not.
    let mut large = bad_policy();
    large["metadata"]["annotations"] = json!({"a": "x".repeat(3 << 20)});
    let answer = server.review("/validate/policies", &review("TracingPolicy", "cilium.io", &large)).await;
    assert_eq!(answer["response"]["allowed"], false);
    let (status, _) = server.post(&at("/validate/policies"), &vec![b' '; 9 << 20]).await;
    // Either the answer arrives or the connection is closed while the client still writes.
    assert!(status == 413 || status == 0, "{status}");
    server.is_well().await;
}

#[tokio::test]
async fn plain_http_is_told_that_it_is_tls() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("speaks TLS"), "{answer}");
    server.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_idle_clients_keep_nobody_out() {
    let server = Server::start();
    let mut held = Vec::new();
    // Slow clients: an incomplete head, and a missing body.
    for text in
        ["POST /validate/policies HTTP/1.1\r\nHo", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx"]
    {
        let mut stream = server.connect().await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        held.push(stream);
    }
    // Idle: more than there are places, each as open as its client can have it.
    let mut idle = Vec::new();
    for _ in 0..700 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    server.is_well().await;
    server.is_well().await;
    drop((held, idle));
    server.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_certificates_change() {
    let server = Arc::new(Server::start());
    let (certificates, first) = (Arc::clone(&server.certificates), server.material.clone());
    let rotating = tokio::spawn(async move {
        let mut material = first;
        for _ in 0..20 {
            let renamed = Settings {
                names: vec!["127.0.0.1".to_owned(), format!("n{}", material.names.len())],
                ..settings()
            };
            material.names.push("other".to_owned());
            material = material.advance(&renamed, SystemTime::now()).unwrap().unwrap();
            certificates.replace(pair(&material));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut requests = 0;
    while !rotating.is_finished() || requests < 20 {
        server.is_well().await;
        requests += 1;
    }
    rotating.await.unwrap();
    assert_eq!(server.certificates.counts(), (21, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ending_server_answers_what_has_begun() {
    let server = Server::start();
    let body = serde_json::to_vec(&review("TracingPolicy", "cilium.io", &bad_policy())).unwrap();
    let mut begun = server.connect().await.unwrap();
    let head = format!(
        "POST /validate/policies/{SECRET} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    begun.write_all(head.as_bytes()).await.unwrap();
    begun.write_all(&body[..10]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.draining.begin();
    server.stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    begun.write_all(&body[10..]).await.unwrap();
    let mut answer = String::new();
    let _ = begun.read_to_string(&mut answer).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.to_lowercase().contains("connection: close"),
        "{answer}"
    );
    server.ended.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "no server listens any more");
}
