//! Records as logs. The body is the whole record; attributes are by OpenTelemetry's semantic conventions, as far as it
//! has them, and begin with `gatewatch.` otherwise. What the pod and the node are, is in the resource.

use std::collections::BTreeMap;

use gatewatch_events::{Action, Event, Timestamp};
use serde_json::{Map, Value, json};

use crate::queue::Line;

/// Severities of the data model: <https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber>.
const INFO: (u32, &str) = (9, "INFO");
const WARN: (u32, &str) = (13, "WARN");
const ERROR: (u32, &str) = (17, "ERROR");

/// The request for a batch of lines.
pub(super) fn request(lines: &[Line]) -> Vec<u8> {
    let mut resources: BTreeMap<String, (Value, Vec<Value>)> = BTreeMap::new();
    for line in lines {
        let (resource, record) = log(&line.text);
        resources.entry(resource.to_string()).or_insert_with(|| (resource, Vec::new())).1.push(record);
    }
    let scope = json!({"name": "gatewatch-agent", "version": env!("CARGO_PKG_VERSION")});
    let logs = |(resource, records): (Value, Vec<Value>)| json!({"resource": {"attributes": resource}, "scopeLogs": [{"scope": scope, "logRecords": records}]});
    let all: Vec<Value> = resources.into_values().map(logs).collect();
    json!({"resourceLogs": all}).to_string().into_bytes()
}

/// Attributes in the order in which they are added. Empty values are left out.
#[derive(Default)]
struct Attributes(Vec<Value>);

impl Attributes {
    fn text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.0.push(json!({"key": key, "value": {"stringValue": value}}));
        }
    }

    fn number(&mut self, key: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.0.push(json!({"key": key, "value": {"intValue": value.to_string()}}));
        }
    }

    fn list(&mut self, key: &str, values: &[String]) {
        if !values.is_empty() {
            let values: Vec<Value> = values.iter().map(|value| json!({"stringValue": value})).collect();
            self.0.push(json!({"key": key, "value": {"arrayValue": {"values": values}}}));
        }
    }
}

/// The resource's attributes, and the log.
fn log(line: &[u8]) -> (Value, Value) {
    let record: Value = serde_json::from_slice(line).unwrap_or_default();
    let mut log = json!({"body": any(&record)});
    // Field filters can leave out parts that a record needs to be read as such: then it has a body alone.
    let Ok(event) = Event::parse(line) else { return (json!([]), log) };
    let (number, text) = severity(&event);
    let nanoseconds = event.time.map_or(0, |Timestamp(time)| time);
    let fields = json!({
        "timeUnixNano": nanoseconds.to_string(),
        "severityNumber": number,
        "severityText": text,
        "eventName": format!("gatewatch.{}", event.kind().name().to_ascii_lowercase()),
        "attributes": attributes(&event),
    });
    if let (Some(log), Value::Object(fields)) = (log.as_object_mut(), fields) {
        log.extend(fields);
    }
    (resource(&event), log)
}

fn severity(event: &Event) -> (u32, &'static str) {
    match event.matched().map(|matched| matched.action) {
        None => INFO,
        Some(Action::Sigkill | Action::Override | Action::Signal | Action::NotifyEnforcer) => ERROR,
        Some(_) => WARN,
    }
}

fn resource(event: &Event) -> Value {
    let mut attributes = Attributes::default();
    attributes.text("service.name", "gatewatch");
    attributes.text("host.name", &event.node_name);
    attributes.text("k8s.node.name", &event.node_name);
    attributes.text("k8s.cluster.name", &event.cluster_name);
    if let Some(pod) = event.process().and_then(|process| process.pod.as_deref()) {
        attributes.text("k8s.namespace.name", &pod.namespace);
        attributes.text("k8s.pod.name", &pod.name);
        attributes.text("k8s.pod.uid", &pod.uid);
        let kinds = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"];
        if kinds.contains(&pod.workload_kind.as_str()) {
            let kind = pod.workload_kind.to_ascii_lowercase();
            attributes.text(&format!("k8s.{kind}.name"), &pod.workload);
        }
        if let Some(container) = &pod.container {
            attributes.text("k8s.container.name", &container.name);
            let id = container.id.split_once("://").map_or(container.id.as_str(), |(_, id)| id);
            attributes.text("container.id", id);
            if let Some(image) = &container.image {
                attributes.text("container.image.name", &image.name);
                if image.id.contains('@') {
                    attributes.list("container.image.repo_digests", std::slice::from_ref(&image.id));
                }
            }
        }
    }
    Value::Array(attributes.0)
}

fn attributes(event: &Event) -> Value {
    let mut attributes = Attributes::default();
    if let Some(processes) = event.processes() {
        let process = &processes.process;
        attributes.number("process.pid", process.pid.map(u64::from));
        attributes.number("thread.id", process.tid.map(u64::from));
        attributes.text("process.executable.path", &process.binary);
        attributes.text("process.executable.name", process.binary.rsplit('/').next().unwrap_or_default());
        attributes.text("process.command_line", format!("{} {}", process.binary, process.arguments).trim());
        attributes.text("process.working_directory", &process.cwd);
        attributes.number("process.user.id", process.uid.map(u64::from));
        if let Some(parent) = &processes.parent {
            attributes.number("process.parent_pid", parent.pid.map(u64::from));
            attributes.text("gatewatch.parent.executable.path", &parent.binary);
        }
    }
    if let Some(matched) = event.matched() {
        attributes.text("gatewatch.policy.name", &matched.policy_name);
        attributes.text("gatewatch.policy.namespace", &matched.policy_namespace);
        attributes.text("gatewatch.action", matched.action.name().trim_start_matches("KPROBE_ACTION_"));
        attributes.text("gatewatch.message", &matched.message);
        attributes.list("gatewatch.tags", &matched.tags);
    }
    attributes.number("gatewatch.seq", Some(event.seq).filter(|seq| *seq > 0));
    attributes
        .text("gatewatch.agent_start", &event.agent_start.map(|time| time.to_string()).unwrap_or_default());
    Value::Array(attributes.0)
}

/// A JSON value as OTLP's `AnyValue`.
fn any(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(flag) => json!({"boolValue": flag}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::String(text) => json!({"stringValue": text}),
        Value::Array(list) => {
            let values: Vec<Value> = list.iter().map(any).collect();
            json!({"arrayValue": {"values": values}})
        }
        Value::Object(object) => map(object),
    }
}

fn map(object: &Map<String, Value>) -> Value {
    let values: Vec<Value> =
        object.iter().map(|(key, value)| json!({"key": key, "value": any(value)})).collect();
    json!({"kvlistValue": {"values": values}})
}
