use super::*;
use crate::{
    argument::{Argument, objects::TruncatedBytes},
    event::Body,
    hook::Kprobe,
    process::Variable,
    time::Timestamp,
};

fn redacted(redaction: &Redaction, binary: &str, text: &str) -> String {
    let mut text = text.to_owned();
    redaction.text(binary, &mut text);
    text
}

#[test]
fn each_pattern_redacts_its_example() {
    let redaction = Redaction::parse(true, "").unwrap();
    for pattern in PATTERNS {
        let binary = pattern.binary.map_or("/bin/sh", |_| "/usr/bin/mysql");
        assert_eq!(redacted(&redaction, binary, pattern.example.0), pattern.example.1, "{}", pattern.what);
        let alone = Redaction {
            any: RegexSet::new([pattern.expression]).unwrap(),
            filters: vec![Filter {
                binaries: Vec::new(),
                expression: Regex::new(pattern.expression).unwrap(),
            }],
        };
        assert_eq!(redacted(&alone, binary, pattern.example.0), pattern.example.1, "alone: {}", pattern.what);
    }
}

#[test]
fn secrets_in_usual_command_lines_are_redacted() {
    let redaction = Redaction::parse(true, "").unwrap();
    for (text, expected) in [
        ("login --password=hunter2 --user bob", "login --password=***** --user bob"),
        ("--password \"two words\" x", "--password ***** x"),
        ("--client-secret abc --token def", "--client-secret ***** --token *****"),
        ("--set auth.password=x,auth.user=y", "--set auth.password=*****,auth.user=y"),
        (
            "-c \"export AWS_SECRET_ACCESS_KEY=abc/def; run\"",
            "-c \"export AWS_SECRET_ACCESS_KEY=*****; run\"",
        ),
        ("-d {\"password\":\"x\",\"user\":\"y\"}", "-d {\"password\":\"*****\",\"user\":\"y\"}"),
        ("https://a/?token=abc&page=2", "https://a/?token=*****&page=2"),
        ("-H \"X-Api-Key: abc\"", "-H \"X-Api-Key: *****\""),
        ("-H \"Authorization: Bearer abcdefgh\"", "-H \"Authorization: Bearer *****\""),
        ("git clone https://x:tok@host/r.git", "git clone https://x:*****@host/r.git"),
        ("--requirepass x", "--requirepass x"),
    ] {
        assert_eq!(redacted(&redaction, "/bin/sh", text), expected);
    }
}

#[test]
fn evidence_that_is_no_secret_stays() {
    let redaction = Redaction::parse(true, "").unwrap();
    for text in [
        "-p 8080:80 --name web",
        "cat /etc/passwd /run/secrets/token",
        "PWD=/root OLDPWD=/",
        "--password --verbose",
        "-u 1000:1000",
        "ssh -p 22 host",
        "https://example.org:8443/path@v2",
        "--tokenizer-threads 4",
        "ls -l /var/run/secrets/kubernetes.io/serviceaccount",
    ] {
        let expected = if text == "-u 1000:1000" { "-u 1000:*****" } else { text };
        assert_eq!(redacted(&redaction, "/usr/bin/docker", text), expected);
    }
}

#[test]
fn every_text_of_a_record_is_redacted() {
    let secret = "token=hunter2";
    let process = || Process {
        binary: "/bin/sh".to_owned(),
        arguments: secret.to_owned(),
        environment_variables: vec![Variable { key: "API_TOKEN".to_owned(), value: "hunter2".to_owned() }],
        ..Process::default()
    };
    let mut body = Kprobe::default();
    body.processes.process = process();
    body.processes.parent = Some(Box::new(process()));
    body.processes.ancestors = vec![process()];
    let cut = TruncatedBytes { bytes_arg: secret.into(), orig_size: 100 };
    let buffer = [b"\xff\xfe", secret.as_bytes(), b"\xff"].concat();
    body.args = vec![
        Argument::new(Value::String(secret.to_owned())),
        Argument::new(Value::Bytes(buffer)),
        Argument::new(Value::TruncatedBytes(cut)),
    ];
    body.return_value = Some(Argument::new(Value::String(secret.to_owned())));
    body.data = vec![Argument::new(Value::String(secret.to_owned()))];
    let mut event = Event::new(Body::ProcessKprobe(Box::new(body)), Timestamp(0));
    Redaction::parse(true, "").unwrap().apply(&mut event);
    assert!(!format!("{event:?}").contains("hunter2"));
    let line = String::from_utf8(event.to_line().unwrap()).unwrap();
    assert_eq!(line.matches("token=*****").count(), 6);
    assert!(event.arguments().contains(&Argument::new(Value::Bytes(b"\xff\xfetoken=*****\xff".to_vec()))));

    let mut event = Event::parse(line.as_bytes()).unwrap();
    let before = event.clone();
    Redaction::parse(false, "").unwrap().apply(&mut event);
    assert_eq!(event, before);
}

#[test]
fn own_filters_can_be_about_some_programs() {
    let filters = r#"{"redact":["--pin[ =](\\d+)","(a)(b)"],"binary_regex":["/bank$"]}"#;
    let redaction = Redaction::parse(false, filters).unwrap();
    assert_eq!(redacted(&redaction, "/bin/bank", "--pin 1234 ab"), "--pin ***** **********");
    assert_eq!(redacted(&redaction, "/bin/sh", "--pin 1234"), "--pin 1234");
    for (text, message) in [
        ("{}", "no `redact`"),
        (r#"{"redact":["x"]}"#, "has no group"),
        (r#"{"redact":["("]}"#, "invalid regular expression"),
        (r#"{"match":[]}"#, "unknown field `match`"),
    ] {
        let error = Redaction::parse(true, text).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
