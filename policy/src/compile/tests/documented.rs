//! docs/policies.md says of each operator and of each type of arguments whether filters with it run.

use std::collections::{BTreeMap, BTreeSet};

use gatewatch_kernel::Profile;

use super::filter;
use crate::{
    compile::{
        Environment, compile,
        types::{Readable, readable},
    },
    model::{Arg, ArgType},
    read::read,
    source::{Node, Value, parse},
};

const PAGE: &str = include_str!("../../../../docs/policies.md");
const DEFINITION: &str = include_str!("../../../../crds/manifests/cilium.io_tracingpolicies.yaml");

/// The words of the columns "runs" and "rejected" in a row of the page's table.
fn columns(row: &str) -> [BTreeSet<&'static str>; 2] {
    let start = format!("| {row} |");
    let line = PAGE.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no row {row}"));
    let [_, _, runs, refused, _] = line.split('|').collect::<Vec<_>>()[..] else { panic!("{line}") };
    [runs, refused].map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect())
}

/// The words that the schema allows for a field of the entries of a list.
fn allowed(node: &Node, list: &str, field: &str) -> Option<Vec<String>> {
    match &node.value {
        Value::Map(entries) => entries.iter().find_map(|entry| {
            let here = || {
                let words = entry.value.get("items")?.get("properties")?.get(field)?.get("enum")?;
                Some(words.items().iter().filter_map(Node::as_str).map(str::to_owned).collect())
            };
            let found = if entry.key == list { here() } else { None };
            found.or_else(|| allowed(&entry.value, list, field))
        }),
        Value::Seq(items) => items.iter().find_map(|item| allowed(item, list, field)),
        _ => None,
    }
}

fn words(list: &str, field: &str) -> Vec<String> {
    let words = allowed(&parse(DEFINITION)[0].root, list, field).unwrap();
    assert!(words.len() > 20, "{words:?}");
    words
}

/// Which words are in the wrong column, in none, or in both.
fn wrong(row: &str, words: &[String], runs: impl Fn(&str) -> bool) -> Vec<String> {
    let [running, refused] = columns(row);
    let places =
        words.iter().map(|word| (word, runs(word), running.contains(&**word), refused.contains(&**word)));
    places
        .filter(|(_, runs, in_running, in_refused)| (*in_running, *in_refused) != (*runs, !*runs))
        .map(|(word, runs, ..)| format!("{word} {}", if runs { "runs" } else { "is rejected" }))
        .collect()
}

#[test]
fn every_type_is_in_the_column_that_it_belongs_to() {
    let runs = |word: &str| {
        let ty = ArgType::from_name(word).unwrap();
        // With a length: a buffer without one is empty.
        let arg = Arg { ty, size_arg_index: 1, ..Arg::default() };
        // Fields of records can have these.
        let of_records = matches!(ty, ArgType::Auto | ArgType::DataLoc | ArgType::Syscall64);
        readable(&arg, 0, false) != Readable::Opaque || of_records
    };
    assert_eq!(wrong("types in filters", &words("args", "type"), runs), [""; 0]);
}

#[test]
fn every_operator_is_in_the_column_that_it_belongs_to() {
    let values = [
        "[]",
        "['1']",
        "['1:2']",
        "['/etc/']",
        "['10.0.0.0/8']",
        "[TCP_CLOSE]",
        "[AF_INET]",
        "[IPPROTO_TCP]",
        "[reg]",
    ];
    let arguments =
        [("__sys_setuid", "uint32"), ("security_file_permission", "file"), ("tcp_connect", "sock")];
    let (kernel, host_namespaces) = (Profile::shipped("6.12").unwrap(), BTreeMap::new());
    let environment = Environment { kernel: &kernel, host_namespaces: &host_namespaces };
    let is_planned = |kprobes: &str| {
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec:\n  kprobes:\n{kprobes}\n"
        );
        let (policy, _) = read(&parse(&text)[0]);
        compile(&policy.unwrap(), environment).0.is_some()
    };
    let on_two_sets = |operator: &str| {
        format!(
            "  - call: security_capset\n    syscall: false\n    args: [{{index: 2, type: cap_effective}}, {{index: 3, type: \
             cap_inheritable}}]\n    selectors: [{{matchArgs: [{{operator: {operator}, args: [0, 1]}}]}}]"
        )
    };
    let runs = |operator: &str| {
        is_planned(&on_two_sets(operator))
            || arguments
                .iter()
                .any(|(call, ty)| values.iter().any(|values| is_planned(&filter(call, ty, operator, values))))
    };
    assert_eq!(wrong("`matchArgs`", &words("matchArgs", "operator"), runs), [""; 0]);
}
