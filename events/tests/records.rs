//! The JSON of records: samples of every kind and every type of argument, compared with a stored file that the suite
//! `events` gives to Tetragon's reader; the JSON schema; and properties for any values.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are not tests to clippy")]

#[path = "records/any.rs"]
mod any;
#[path = "records/parts.rs"]
mod parts;
#[path = "records/samples.rs"]
mod samples;
#[path = "records/values.rs"]
mod values;

use std::{collections::BTreeSet, fs, path::Path};

use gatewatch_events::{Event, argument::KEYS};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::Value;

const STORED: &str = "tests/records.jsonl";
/// What the real `tetra getevents -o json` and `-o compact` print for these records. The suite `events` runs it, and
/// writes these files.
const BY_TETRA: &str = "tests/records.tetra.jsonl";
const LINES_OF_TETRA: &str = "tests/records.tetra.txt";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn schema() -> Validator {
    let schema: Value = serde_json::from_str(&read("../docs/schema/events.schema.json")).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn line(event: &Event) -> String {
    String::from_utf8(event.to_line().unwrap()).unwrap()
}

fn faults(schema: &Validator, line: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(line).unwrap();
    schema.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn samples_are_as_stored() {
    let text: String = samples::all().iter().map(|event| line(event) + "\n").collect();
    if std::env::var_os("GATEWATCH_WRITE_DOCS").is_some() {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(STORED), &text).unwrap();
    }
    assert_eq!(text, read(STORED), "to accept the change, run this test with GATEWATCH_WRITE_DOCS=1");
}

#[test]
fn samples_have_every_kind_and_every_argument() {
    let text = read(STORED);
    for key in KEYS {
        assert!(text.contains(&format!("\"{key}\":")), "no sample has {key}");
    }
    let kinds: BTreeSet<_> = samples::all().iter().map(Event::kind).collect();
    assert_eq!(kinds.len(), 9, "the kinds that Gatewatch writes, and the notice about lost records");
}

#[test]
fn samples_are_valid_by_the_schema_and_read_back() {
    let schema = schema();
    for event in samples::all() {
        let line = line(&event);
        assert_eq!(faults(&schema, &line), Vec::<String>::new(), "{line}");
        assert_eq!(Event::parse(line.as_bytes()).unwrap(), event);
    }
}

/// Without the keys that are Gatewatch's own, which Tetragon's reader does not know.
fn without_own_keys(value: Value, depth: usize) -> Value {
    const IN_BODY: [&str; 5] = ["address", "incomplete", "policy_namespace", "selector", "mode"];
    match value {
        Value::Object(object) => {
            let own = |key: &str| match depth {
                0 => key == "seq" || key == "agent_start",
                // `address`: the place of a uprobe. Entries of stacks, further in, have Tetragon's.
                1 => IN_BODY.contains(&key),
                _ => key == "pod_status" || key == "digest",
            };
            let entries = object.into_iter().filter(|(key, _)| !own(key));
            entries.map(|(key, value)| (key, without_own_keys(value, depth + 1))).collect()
        }
        Value::Array(list) => list.into_iter().map(|entry| without_own_keys(entry, depth + 1)).collect(),
        other => other,
    }
}

#[test]
fn tetragons_reader_understands_every_key_and_value() {
    let (ours, theirs) = (read(STORED), read(BY_TETRA));
    // The last one is the notice, which ends the reader in its compact form.
    assert_eq!(ours.lines().count(), theirs.lines().count() + 1);
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        let ours = without_own_keys(serde_json::from_str(ours).unwrap(), 0);
        assert_eq!(ours, serde_json::from_str::<Value>(theirs).unwrap());
    }
}

#[test]
fn compact_lines_are_like_those_of_tetragons_reader() {
    let stacks_and_hashes = |line: &&str| !line.starts_with("   ") && !["Kernel:", "User:"].contains(line);
    let theirs = read(LINES_OF_TETRA);
    let theirs: Vec<&str> = theirs.lines().filter(stacks_and_hashes).collect();
    let ours: Vec<String> =
        samples::all().iter().map(|event| gatewatch_events::compact::Compact::of(event).line()).collect();
    assert_eq!(ours.len(), theirs.len() + 1);
    let mut same = 0;
    for (ours, theirs) in ours.iter().zip(&theirs) {
        // Tetragon marks some icons as coloured emojis, and ends some lines with a blank. Its text for functions that it
        // does not know has no arguments.
        let theirs = theirs.replace('\u{fe0f}', "");
        let ours = ours.replace('\u{fe0f}', "");
        if ours.split(' ').next() == theirs.split(' ').next() && !ours.starts_with('❓') {
            same += 1;
            let theirs = theirs.trim_end();
            assert!(ours.starts_with(theirs) || !theirs.contains("tcp"), "{ours}\n{theirs}");
        }
    }
    assert!(same > 20, "{same} records have the same icon");
    let text = ours.join("\n") + "\n";
    if std::env::var_os("GATEWATCH_WRITE_DOCS").is_some() {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records.txt"), &text).unwrap();
    }
    assert_eq!(
        text,
        read("tests/records.txt"),
        "to accept the change, run this test with GATEWATCH_WRITE_DOCS=1"
    );
}

#[test]
fn the_schema_finds_mistakes() {
    let schema = schema();
    let good = line(&samples::all()[0]);
    for (from, to) in [
        ("\"node_name\"", "\"nodeName\""),
        ("\"pid\":", "\"pidd\":"),
        ("process_exec", "process_start"),
        (".678901234Z", ".6789Z"),
        ("\"seq\":\"", "\"seq\":\"0"),
    ] {
        assert!(good.contains(from), "{from} is not in {good}");
        assert_ne!(faults(&schema, &good.replacen(from, to, 1)), Vec::<String>::new(), "{to}");
    }
}

#[test]
fn a_record_of_tetragon_is_read_as_far_as_it_is_known() {
    let text = r#"{"process_kprobe":{"process":{"exec_id":"x","pid":1,"refcnt":3,"new_field":{"a":1}},
        "function_name":"f","args":[{"future_arg":{"x":1},"label":"l"},{"int_arg":0}],"action":"KPROBE_ACTION_NEW",
        "return_action":17},"time":"2026-01-02T03:04:05Z","aggregation_info":{"count":"2"}}"#;
    let event = Event::parse(text.as_bytes()).unwrap();
    assert_eq!(event.arguments().len(), 2);
    assert_eq!(event.process().unwrap().refcnt, 3);
    for (text, message) in [
        (r#"{"process_future":{},"time":"2026-01-02T03:04:05Z"}"#, "no variant of enum Body"),
        (r#"{"process_exec":{"process":{"start_time":"today"}}}"#, "invalid time \"today\""),
        (r#"{"process_kprobe":{"args":[{"size_arg":"-1"}]}}"#, "size_arg: integer -1 is out of range"),
        (r#"{"process_kprobe":{"args":[{"bytes_arg":"*"}]}}"#, "bytes_arg: invalid base64"),
    ] {
        let error = Event::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// Whatever bytes the kernel hands over.
    #[test]
    fn any_record_is_one_line_and_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let event = any::event(&bytes);
        let line = line(&event);
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(Event::parse(line.as_bytes()).unwrap(), event);
        prop_assert_eq!(faults(&schema(), &line), Vec::<String>::new());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Event::parse(&bytes);
        let mut line = line(&samples::all()[1]).into_bytes();
        let at = bytes.len() % line.len();
        line.splice(at..at, bytes);
        let _ = Event::parse(&line);
    }
}
