//! The policy language: what the schema admits and rejects, and that schema and types agree.

use gatewatch_crds::{TracingPolicy, TracingPolicyNamespaced, argument::ArgumentType};
use serde_json::{Value, json};

use crate::dialect::{refusals, schema};

/// A policy that uses every section and every field.
fn whole_language() -> Value {
    let labels = json!({
        "matchLabels": {"org": "empire", "empty": ""},
        "matchExpressions": [{"key": "class", "operator": "In", "values": ["x"]}, {"key": "k", "operator": "Exists"}],
    });
    let actions = json!([
        {"action": "Post", "rateLimit": "1m", "rateLimitScope": "global", "kernelStackTrace": true,
         "userStackTrace": true, "imaHash": true},
        {"action": "Override", "argError": -1, "argRegs": ["rax=0"], "argNewSymbol": "f"},
        {"action": "Override", "argNewAddr": 4096}, {"action": "Override", "argNewOffset": 16},
        {"action": "Signal", "argSig": 9}, {"action": "GetUrl", "argUrl": "https://example.org"},
        {"action": "DnsLookup", "argFqdn": "example.org"}, {"action": "TrackSock", "argSock": 0},
        {"action": "Set", "argIndex": 1, "argValue": 2},
    ]);
    let filters = json!([
        {"index": 0, "operator": "Equal", "values": ["1"]},
        {"args": [0, 1], "operator": "CapabilitiesGained"},
    ]);
    let binaries = json!([{"operator": "In", "values": ["/usr/bin/sudo"], "followChildren": true}]);
    let capabilities = json!([
        {"operator": "In", "values": ["CAP_SYS_ADMIN"], "type": "Permitted", "isNamespaceCapability": true},
    ]);
    let selector = json!({
        "label": "l", "macros": ["m"],
        "matchActions": actions, "matchReturnActions": actions,
        "matchArgs": filters, "matchData": filters, "matchReturnArgs": filters,
        "matchBinaries": binaries, "matchParentBinaries": binaries,
        "matchCapabilities": capabilities, "matchCapabilityChanges": capabilities,
        "matchNamespaceChanges": [{"operator": "In", "values": ["Mnt"]}],
        "matchNamespaces": [{"namespace": "PidForChildren", "operator": "NotIn", "values": ["host_ns"]}],
        "matchPIDs": [{"operator": "NotIn", "values": [0, 1], "followForks": true, "isNamespacePID": true}],
        "matchWorkloads": {"podSelector": labels, "containerSelector": labels, "hostSelector": {}},
    });
    let argument = json!({
        "index": 0, "type": "file", "label": "a", "resolve": "f.x[1]", "sizeArgIndex": 2, "returnCopy": true,
        "maxData": true, "btfType": "file", "btfTypeModule": "ext4", "source": "current_task",
    });
    let function = json!({
        "call": "sys_read", "syscall": true, "return": true, "returnArg": argument, "returnArgAction": "TrackSock",
        "args": [argument], "data": [argument], "selectors": [selector], "message": "reads", "tags": ["t"],
        "ignore": {"callNotFound": true},
    });
    json!({
        "apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "all"},
        "spec": {
            "podSelector": labels, "containerSelector": labels, "nodeSelector": labels, "hostSelector": {},
            "loader": true,
            "kprobes": [function], "fentries": [function],
            "tracepoints": [{"subsystem": "raw_syscalls", "event": "sys_enter", "raw": true, "args": [argument],
                             "selectors": [selector], "message": "m", "tags": ["t"]}],
            "lsmhooks": [{"hook": "file_open", "args": [argument], "selectors": [selector], "message": "m", "tags": ["t"]}],
            "uprobes": [{"path": "/bin/bash", "btfPath": "/b", "symbols": ["readline"], "refCtrOffsets": [1],
                         "args": [argument], "data": [argument], "return": true, "returnArg": argument,
                         "binaryDigests": ["sha256:00"], "ignore": {"digestVerificationFailure": true},
                         "selectors": [selector], "message": "m", "tags": ["t"]},
                        {"path": "/b", "offsets": [4096]}, {"path": "/b", "addrs": [4096]}],
            "usdts": [{"path": "/b", "btfPath": "/b", "provider": "p", "name": "n", "args": [argument],
                       "selectors": [selector], "message": "m", "tags": ["t"]}],
            "lists": [{"name": "l", "type": "generated_ftrace", "pattern": "^x", "validated": true, "values": ["f"]}],
            "enforcers": [{"calls": ["sys_write", "list:l"]}],
            "options": [{"name": "policy-mode", "value": "monitor"}, {"name": "disable-kprobe-multi"}],
            "selectorsMacros": {"m": selector},
        },
    })
}

#[test]
fn the_whole_language_is_admitted_and_read_and_written_as_it_was() {
    let object = whole_language();
    assert_eq!(refusals("TracingPolicy", &object), Vec::<String>::new());
    let policy: TracingPolicy = serde_json::from_value(object).unwrap();
    let written = serde_json::to_value(&policy).unwrap();
    assert_eq!(refusals("TracingPolicy", &written), Vec::<String>::new());
    assert_eq!(serde_json::from_value::<TracingPolicy>(written.clone()).unwrap(), policy);

    // Every field that the schema has was in it: nothing of the language is left untested here.
    let mut unused = vec![];
    unused_fields(&schema("TracingPolicy")["properties"]["spec"], &[&written["spec"]], "spec", &mut unused);
    assert_eq!(unused, Vec::<String>::new());
}

/// Fields of a schema that none of the values has, other than the fields of a hostSelector, which must be empty.
fn unused_fields(schema: &Value, values: &[&Value], path: &str, unused: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let inner: Vec<&Value> = values.iter().filter_map(|value| value.get(name)).collect();
        let path = format!("{path}.{name}");
        if inner.is_empty() {
            unused.push(path);
        } else if name != "hostSelector" {
            unused_fields(property, &inner, &path, unused);
        }
    }
    if schema["items"].is_object() {
        let inner: Vec<&Value> = values.iter().filter_map(|value| value.as_array()).flatten().collect();
        unused_fields(&schema["items"], &inner, &format!("{path}[]"), unused);
    }
}

/// A small policy with one thing changed, and the place where it is rejected.
#[test]
fn what_is_wrong_by_the_schema_is_refused_at_its_place() {
    let long = "x".repeat(64);
    let cases = [
        ("/spec/kprobes/0/call", None, "/spec/kprobes/0"),
        ("/spec/kprobes/0/args/0/type", Some(json!("integer")), "/spec/kprobes/0/args/0/type"),
        ("/spec/kprobes/0/args/0/index", Some(json!(-1)), "/spec/kprobes/0/args/0/index"),
        ("/spec/kprobes/0/args/0/index", Some(json!(1_u64 << 31)), "/spec/kprobes/0/args/0/index"),
        ("/spec/kprobes/0/args/0/index", None, "/spec/kprobes/0/args/0"),
        ("/spec/kprobes/0/syscall", Some(json!("no")), "/spec/kprobes/0/syscall"),
        ("/spec/kprobes/0/tags", Some(json!(vec!["tag"; 17])), "/spec/kprobes/0/tags"),
        (
            "/spec/kprobes/0/selectors/0/matchArgs/0/values/0",
            Some(json!(2)),
            "/spec/kprobes/0/selectors/0/matchArgs/0/values/0",
        ),
        (
            "/spec/kprobes/0/selectors/0/matchArgs/0/operator",
            Some(json!("SubStringIgnoreCase")),
            "/spec/kprobes/0/selectors/0/matchArgs/0/operator",
        ),
        (
            "/spec/kprobes/0/selectors/0/matchBinaries",
            Some(json!([{"operator": "In", "values": ["/a"]}, {"operator": "In", "values": ["/b"]}])),
            "/spec/kprobes/0/selectors/0/matchBinaries",
        ),
        (
            "/spec/kprobes/0/selectors/0/matchBinaries",
            Some(json!([{"operator": "In"}])),
            "/spec/kprobes/0/selectors/0/matchBinaries/0",
        ),
        (
            "/spec/kprobes/0/selectors/0/matchActions/0/action",
            Some(json!("Kill")),
            "/spec/kprobes/0/selectors/0/matchActions/0/action",
        ),
        ("/spec/podSelector/matchLabels/org", Some(json!("not legal")), "/spec/podSelector/matchLabels/org"),
        ("/spec/podSelector/matchLabels/org", Some(json!(long)), "/spec/podSelector/matchLabels/org"),
        ("/spec/podSelector/matchLabels/org", Some(json!(true)), "/spec/podSelector/matchLabels/org"),
        ("/spec/podSelector", Some(Value::Null), "/spec/podSelector"),
        (
            "/spec/podSelector/matchExpressions",
            Some(json!([{"key": "org", "operator": "Equals"}])),
            "/spec/podSelector/matchExpressions/0/operator",
        ),
        ("/spec/lists", Some(json!([{"name": "l", "type": ""}])), "/spec/lists/0/type"),
        ("/spec/kprobe", Some(json!([])), "/spec"),
        ("/metadata", None, ""),
        ("/spec", None, ""),
    ];
    for (place, value, refused_at) in cases {
        let mut object = small();
        change(&mut object, place, value.clone());
        assert_eq!(refusals("TracingPolicy", &object), [refused_at], "{place} = {value:?}");
    }
    assert_eq!(refusals("TracingPolicy", &small()), Vec::<String>::new());
}

/// What the API server admits although it is wrong: the policy engine's work, and read by the types all the same.
#[test]
fn what_the_api_server_admits_is_read_although_it_is_wrong() {
    let cases = [
        ("/spec/kprobes/0/args/0/type", None),
        ("/spec/kprobes", None),
        (
            "/spec/podSelector/matchExpressions",
            Some(json!([{"key": "!", "operator": "In", "values": ["a b"]}])),
        ),
        ("/spec/kprobes/0/selectors/0/matchPIDs", Some(json!([{"operator": "In", "values": [-1]}]))),
        ("/spec/kprobes/0/selectors/0/matchActions/0/argSig", Some(json!(-1))),
        (
            "/spec/kprobes/0/selectors/0/matchNamespaceChanges",
            Some(json!([{"operator": "In", "values": ["Mount"]}])),
        ),
        ("/spec/options", Some(json!([{"name": "no-such-option", "value": "1"}]))),
        ("/spec/uprobes", Some(json!([{"path": "/b", "offsets": [-1]}]))),
        ("/spec/hostSelector", Some(json!({}))),
    ];
    for (place, value) in cases {
        let mut object = small();
        change(&mut object, place, value.clone());
        assert_eq!(refusals("TracingPolicy", &object), Vec::<String>::new(), "{place} = {value:?}");
        serde_json::from_value::<TracingPolicy>(object).unwrap();
    }
}

#[test]
fn defaults_are_those_of_the_schema() {
    let policy: TracingPolicy = serde_json::from_value(json!({
        "apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "small"},
        "spec": {"kprobes": [{"call": "sys_read", "args": [{"index": 0}]}]},
    }))
    .unwrap();
    let kprobe = &policy.spec.kprobes[0];
    assert!(kprobe.syscall && !kprobe.returns);
    assert_eq!(kprobe.args[0].kind, ArgumentType::Auto);
    assert_eq!(policy.spec.pod_selector, None);

    let schema = schema("TracingPolicy");
    let kprobe = &schema["properties"]["spec"]["properties"]["kprobes"]["items"]["properties"];
    assert_eq!((&kprobe["syscall"]["default"], &kprobe["return"]["default"]), (&json!(true), &json!(false)));
    assert_eq!(kprobe["args"]["items"]["properties"]["type"]["default"], "auto");
    assert_eq!(kprobe["args"].get("default"), None, "a list that is absent stays absent");
}

/// The rules of the API server that a JSON Schema cannot say, where they belong.
#[test]
fn rules_stand_where_they_belong() {
    let rules = |schema: &Value| -> Vec<String> {
        let rules = schema["x-kubernetes-validations"].as_array().cloned().unwrap_or_default();
        rules.iter().map(|rule| rule["rule"].as_str().unwrap().to_owned()).collect()
    };
    let cluster = schema("TracingPolicy");
    let namespaced = schema("TracingPolicyNamespaced");
    assert_eq!(rules(&cluster), Vec::<String>::new());
    assert_eq!(rules(&namespaced), ["!has(self.spec.hostSelector)"]);
    for schema in [cluster, namespaced] {
        let spec = &schema["properties"]["spec"]["properties"];
        let host = ["!has(self.matchLabels) && !has(self.matchExpressions)"];
        assert_eq!(rules(&spec["hostSelector"]), host);
        let selector = &spec["kprobes"]["items"]["properties"]["selectors"]["items"]["properties"];
        assert_eq!(rules(&selector["matchWorkloads"]["properties"]["hostSelector"]), host);
        let returns = "!has(self.return) || (!self.return || has(self.returnArg))".to_owned();
        assert_eq!(rules(&spec["kprobes"]["items"]), std::slice::from_ref(&returns));
        assert_eq!(rules(&spec["fentries"]["items"]), std::slice::from_ref(&returns));
        let uprobe = rules(&spec["uprobes"]["items"]);
        assert!(
            uprobe.len() == 2 && uprobe[0].contains("self.offsets") && uprobe[1] == returns,
            "{uprobe:?}"
        );
        assert!(rules(&selector["matchActions"]["items"])[0].contains("argNewSymbol"));
    }
}

#[test]
fn both_kinds_have_one_language() {
    let spec = |kind: &str| schema(kind)["properties"]["spec"]["properties"].clone();
    assert_eq!(spec("TracingPolicy"), spec("TracingPolicyNamespaced"));
    let mut object = small();
    object["kind"] = json!("TracingPolicyNamespaced");
    object["metadata"]["namespace"] = json!("test");
    let policy: TracingPolicyNamespaced = serde_json::from_value(object).unwrap();
    assert_eq!(policy.spec.0.kprobes[0].call, "sys_setuid");
    assert_eq!(serde_json::to_value(&policy).unwrap()["spec"]["kprobes"][0]["call"], "sys_setuid");
}

fn small() -> Value {
    json!({
        "apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "small"},
        "spec": {
            "podSelector": {"matchLabels": {"org": "empire"}},
            "kprobes": [{
                "call": "sys_setuid", "syscall": true, "args": [{"index": 0, "type": "int"}],
                "selectors": [{
                    "matchArgs": [{"index": 0, "operator": "Equal", "values": ["0"]}],
                    "matchActions": [{"action": "Post"}],
                }],
            }],
        },
    })
}

/// Sets or removes the value at a JSON pointer.
fn change(object: &mut Value, place: &str, value: Option<Value>) {
    let (parent, field) = place.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(fields), Some(value)) => drop(fields.insert(field.to_owned(), value)),
        (Value::Object(fields), None) => assert!(fields.remove(field).is_some(), "{place} is not there"),
        (parent, value) => parent[field.parse::<usize>().unwrap()] = value.unwrap(),
    }
}
