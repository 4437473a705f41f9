//! The file behind `--pods`: what `kubectl get pods -A -o yaml` (or `-o json`) prints.

use k8s_openapi::api::core::v1 as core;
use serde_json::Value;

use super::Pod;

/// Pods of a file, and what was wrong in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFile {
    /// The pods that could be read.
    pub pods: Vec<Pod>,
    /// A sentence for each thing that couldn't: which one it is, why, and what follows.
    pub problems: Vec<String>,
}

/// Why nothing of a file could be used.
#[derive(Debug, thiserror::Error)]
pub enum PodFileError {
    /// There is nothing in it; a list without pods is something else.
    #[error("the file is empty; expected the output of `kubectl get pods -A -o yaml`")]
    Empty,
    /// No part of it is YAML or JSON.
    #[error("line {line}: {message}")]
    Syntax {
        /// Line of the file, from 1.
        line: u64,
        /// What the parser says.
        message: String,
    },
    /// It holds other things than pods.
    #[error("expected the output of `kubectl get pods -A -o yaml`, found no pods but {found}")]
    NoPods {
        /// What was found, `a Service` or the like.
        found: String,
    },
}

/// Reads pods from YAML or JSON: a `List` or `PodList`, single `Pod`s, or several documents of these. One that is
/// malformed doesn't lose the others.
pub fn parse_pods(text: &str) -> Result<PodFile, PodFileError> {
    let mut file = PodFile::default();
    let (mut documents, mut syntax, mut strangers) = (0, Vec::new(), Vec::new());
    for document in documents_of(text) {
        match read(document.text) {
            Ok(Value::Null) => {}
            Ok(value) => {
                documents += 1;
                collect(value, document.first_line, &mut file, &mut strangers);
            }
            Err((line, message)) => syntax.push((document.first_line + line - 1, message)),
        }
    }
    if documents == 0 {
        return match syntax.into_iter().next() {
            Some((line, message)) => Err(PodFileError::Syntax { line, message }),
            None => Err(PodFileError::Empty),
        };
    }
    if file.pods.is_empty() && file.problems.is_empty() {
        if let Some((found, _)) = strangers.into_iter().next() {
            return Err(PodFileError::NoPods { found });
        }
    } else {
        file.problems
            .extend(strangers.into_iter().map(|(what, at)| format!("{at} is {what}, not a pod: ignored")));
    }
    file.problems.extend(
        syntax
            .into_iter()
            .map(|(line, message)| format!("line {line}: {message}; the pods of this document are unknown")),
    );
    Ok(file)
}

/// A YAML document and the line that it begins on.
struct Document<'a> {
    text: &'a str,
    first_line: u64,
}

/// Cuts a stream at its `---` lines, so that a mistake in one document is that document's alone. Inside a
/// document no line can begin so: text in it is indented.
fn documents_of(text: &str) -> Vec<Document<'_>> {
    let mut found = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 1, 0);
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        if line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
        {
            found.push(Document { text: &text[start..at], first_line: start_line });
            (start, start_line) = (at, number);
        }
        at += line.len();
    }
    found.push(Document { text: &text[start..], first_line: start_line });
    found
}

/// Reads one document; `Null` where it is empty. The error is a line of the document, and what is wrong there.
fn read(text: &str) -> Result<Value, (u64, String)> {
    if text.trim_start().starts_with('{') {
        // JSON is YAML, but a parser of its own is several times as fast, and `-o json` is common.
        if let Ok(value) = serde_json::from_str(text) {
            return Ok(value);
        }
    }
    // The limits of the YAML parser are made for small files of strangers; this one is the administrator's, and a
    // full node's pods are some 100,000 values. Aliases stay limited: kubectl prints none.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 20_000_000,
            max_nodes: 10_000_000,
            max_total_scalar_bytes: 1 << 30,
        },
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Option<Value>>(text, options) {
        Ok(value) => Ok(value.unwrap_or(Value::Null)),
        Err(error) => {
            Err((error.location().map_or(1, |at| at.line()), first_line(&error.to_string()).to_owned()))
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Takes the pods out of one document. What isn't a pod goes to `strangers`: what it is, and where.
fn collect(mut value: Value, line: u64, file: &mut PodFile, strangers: &mut Vec<(String, String)>) {
    if !matches!(value["kind"].as_str(), Some("List" | "PodList")) {
        return one(value, &format!("the document on line {line}"), file, strangers);
    }
    match value["items"].take() {
        Value::Array(items) => {
            for (index, item) in items.into_iter().enumerate() {
                one(item, &format!("items[{index}]"), file, strangers);
            }
        }
        Value::Null => {}
        _ => file.problems.push(format!("the `items` of the list on line {line} are not a list: ignored")),
    }
}

fn one(item: Value, at: &str, file: &mut PodFile, strangers: &mut Vec<(String, String)>) {
    // An item of a `PodList` as the API server gives it has no kind.
    let stranger = match item.get("kind") {
        Some(Value::String(kind)) if kind == "Pod" => None,
        Some(kind) => Some(format!("a {kind}")),
        None if item.is_object() => None,
        None => Some("plain text".to_owned()),
    };
    if let Some(what) = stranger {
        return strangers.push((what, at.to_owned()));
    }
    let text = |key: &str| item["metadata"][key].as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text("namespace"), text("name"));
    let called = if name.is_empty() { at.to_owned() } else { format!("{at} ({namespace}/{name})") };
    let pods = match serde_json::from_value::<core::Pod>(item) {
        Ok(pod) => Pod::all_of(&pod),
        Err(error) => {
            return file.problems.push(format!("{called} is not a valid pod: {error}"));
        }
    };
    if let Some(pod) = pods.iter().find(|pod| pod.uid.is_empty() || pod.name.is_empty()) {
        let missing = if pod.name.is_empty() { "name" } else { "uid" };
        return file.problems.push(format!(
            "{called} has no `metadata.{missing}`, so its events cannot be distinguished from others: ignored"
        ));
    }
    file.pods.extend(pods.into_iter().map(|pod| {
        let namespace = if pod.namespace.is_empty() { "default".to_owned() } else { pod.namespace };
        Pod { namespace, ..pod }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, uid: &str) -> String {
        format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: test\n  uid: {uid}\n")
    }

    fn list(pods: &[String]) -> String {
        let mut text = "apiVersion: v1\nitems:\n".to_owned();
        for pod in pods {
            for (i, line) in pod.lines().enumerate() {
                text.extend([if i == 0 { "- " } else { "  " }, line, "\n"]);
            }
        }
        text + "kind: List\nmetadata:\n  resourceVersion: \"\"\n"
    }

    fn names(file: &PodFile) -> Vec<&str> {
        file.pods.iter().map(|p| p.name.as_str()).collect()
    }

    #[test]
    fn what_kubectl_prints() {
        let text = r#"apiVersion: v1
items:
- apiVersion: v1
  kind: Pod
  metadata:
    creationTimestamp: "2026-01-05T10:00:00Z"
    generation: 1
    labels:
      class: tiefighter
      number: "1"
      org: empire
    name: tiefighter
    namespace: test
    resourceVersion: "4711"
    uid: 4f2f5e4a-7b1c-4c59-9f7c-0123456789ab
  spec:
    containers:
    - command: ["sh", "-c", "sleep infinity"]
      image: docker.io/tgraf/netperf
      name: spaceship
      resources: {}
      volumeMounts:
      - mountPath: /var/run/secrets/kubernetes.io/serviceaccount
        name: kube-api-access
        readOnly: true
    nodeName: node-1
    tolerations:
    - effect: NoExecute
      key: node.kubernetes.io/not-ready
      operator: Exists
      tolerationSeconds: 300
  status:
    containerStatuses:
    - containerID: containerd://0123456789012345678901234567890123456789012345678901234567890123
      image: docker.io/tgraf/netperf:latest
      imageID: docker.io/tgraf/netperf@sha256:8e86f744bfea165fd4ce68caa05abc96500f40130b857773186401926af7e9e6
      lastState: {}
      name: spaceship
      ready: true
      restartCount: 0
      started: true
      state:
        running:
          startedAt: "2026-01-05T10:00:02Z"
    phase: Running
    podIP: 10.244.0.7
kind: List
metadata:
  resourceVersion: ""
"#;
        let file = parse_pods(text).unwrap();
        assert_eq!(file.problems, [""; 0]);
        let pod = &file.pods[0];
        assert_eq!((pod.namespace.as_str(), pod.name.as_str()), ("test", "tiefighter"));
        assert_eq!(pod.uid, "4f2f5e4a-7b1c-4c59-9f7c-0123456789ab");
        assert_eq!(pod.labels["number"], "1");
        assert_eq!(pod.workload.name, "tiefighter");
        assert_eq!(pod.containers[0].repo, "docker.io/tgraf/netperf");
        assert_eq!(
            pod.containers[0].id.as_deref(),
            Some("0123456789012345678901234567890123456789012345678901234567890123")
        );
    }

    #[test]
    fn every_form() {
        let (a, b) = (pod("a", "u1"), pod("b", "u2"));
        for text in [
            list(&[a.clone(), b.clone()]),
            format!("{a}---\n{b}"),
            format!("---\n{a}---\n---\n# nothing\n---\n{b}---\n"),
            format!("{}---\n{b}", list(std::slice::from_ref(&a))),
            // As the API server answers: items without a kind.
            r#"{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"a","namespace":"test","uid":"u1"}},
                {"metadata":{"name":"b","namespace":"test","uid":"u2"}}]}"#.to_owned(),
            r#"{"kind":"Pod","metadata":{"name":"a","uid":"u1"}}
---
{"kind":"Pod","metadata":{"name":"b","uid":"u2"}}"#.to_owned(),
        ] {
            let file = parse_pods(&text).unwrap();
            assert_eq!((names(&file), file.problems.len()), (vec!["a", "b"], 0), "{text}");
        }
        let none = parse_pods("apiVersion: v1\nitems: []\nkind: List\n").unwrap();
        assert_eq!(none, PodFile::default());
        assert_eq!(
            parse_pods("kind: Pod\nmetadata: {name: a, uid: u}").unwrap().pods[0].namespace,
            "default"
        );
    }

    #[test]
    fn a_bad_one_does_not_lose_the_others() {
        let bad =
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: bad\n  namespace: test\n  uid: u\n  labels: [a]\n";
        let service = "kind: Service\nmetadata:\n  name: s\n".to_owned();
        let text = list(&[
            pod("a", "u1"),
            bad.to_owned(),
            pod("nouid", "\"\""),
            service,
            "kind: Pod\n".to_owned(),
            pod("z", "u9"),
        ]);
        let file = parse_pods(&text).unwrap();
        assert_eq!(names(&file), ["a", "z"]);
        let said = file.problems.join("\n");
        for want in [
            "items[1] (test/bad) is not a valid pod",
            "items[2] (test/nouid) has no `metadata.uid`",
            "items[3] is a \"Service\"",
            "items[4] has no `metadata.name`",
        ] {
            assert!(said.contains(want), "{want} in {said}");
        }
        assert_eq!(file.problems.len(), 4, "{said}");

        let torn = format!("{}---\nkind: Pod\nmetadata: {{name: [\n---\n{}", pod("a", "u1"), pod("z", "u9"));
        let file = parse_pods(&torn).unwrap();
        assert_eq!(names(&file), ["a", "z"]);
        assert_eq!(file.problems.len(), 1);
        assert!(file.problems[0].starts_with("line "), "{:?}", file.problems);
    }

    #[test]
    fn nothing_to_be_used() {
        assert!(matches!(parse_pods(""), Err(PodFileError::Empty)));
        assert!(matches!(parse_pods("\n# later\n---\n"), Err(PodFileError::Empty)));
        assert!(matches!(parse_pods("kind: Service\n"), Err(PodFileError::NoPods { .. })));
        assert!(matches!(parse_pods("just text"), Err(PodFileError::NoPods { .. })));
        let Err(PodFileError::Syntax { line, .. }) = parse_pods("\n\nkind: Pod\nmetadata: {name: [\n") else {
            panic!("it is no YAML");
        };
        assert!((3..=5).contains(&line), "{line}");
    }

    #[test]
    fn a_full_node() {
        let labels: Vec<_> = (0..100).map(|l| format!("    key{l}: value\n")).collect();
        let pods: Vec<_> = (0..2_000)
            .map(|i| format!("{}  labels:\n{}", pod(&format!("p{i}"), &format!("u{i}")), labels.concat()))
            .collect();
        let file = parse_pods(&list(&pods)).unwrap();
        assert_eq!((file.pods.len(), file.problems.len()), (2_000, 0));
        assert_eq!(file.pods[1_999].labels.len(), 100);
    }
}
