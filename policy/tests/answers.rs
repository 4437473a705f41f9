//! Kernels that are found to answer a policy alike: compiling gives the same plan for both, and reports the same word for
//! word.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "common/findings.rs"]
mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use gatewatch_kernel::Profile;
use gatewatch_policy::{
    assess::Checked,
    compile::{Answers, Environment, compile},
    model::Policy,
    source::parse,
};

use self::common::{corpus, host_namespaces};

fn kernels() -> Vec<Profile> {
    Profile::shipped_names().filter_map(Profile::shipped).collect()
}

/// Those with mistakes too.
fn policies(text: &str) -> Vec<Policy> {
    parse(text).iter().filter_map(|document| Some(Checked::of(document).ok()?.policy)).collect()
}

/// The policies that come with Gatewatch.
fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.filter(|path| path.is_dir()).flat_map(|path| fs::read_dir(path).unwrap());
    files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect()
}

/// Compares all pairs of kernels; gives how many were found to agree, and how many not.
fn compare(policies: &[Policy], kernels: &[Profile]) -> (usize, usize) {
    let host_namespaces = host_namespaces();
    let (mut agree, mut differ) = (0, 0);
    for policy in policies {
        let all: Vec<_> = kernels
            .iter()
            .map(|kernel| {
                let environment = Environment { kernel, host_namespaces: &host_namespaces };
                (Answers::of(policy, environment), compile(policy, environment))
            })
            .collect();
        for (i, (one, reported)) in all.iter().enumerate() {
            assert!(one.agree(one));
            for (k, (other, also)) in all.iter().enumerate().filter(|(k, _)| *k != i) {
                assert_eq!(one.agree(other), other.agree(one));
                if one.agree(other) {
                    assert_eq!(
                        reported, also,
                        "{} on {} and {}",
                        policy.name, kernels[i].release, kernels[k].release
                    );
                    agree += 1;
                } else {
                    differ += 1;
                }
            }
        }
    }
    (agree, differ)
}

#[test]
fn the_policies_there_are() {
    let corpus = ["good", "warn", "bad"].into_iter().flat_map(corpus);
    let texts = corpus.chain(shipped()).map(|file| fs::read_to_string(file).unwrap());
    let all: Vec<Policy> = texts.flat_map(|text| policies(&text)).collect();
    let (agree, differ) = compare(&all, &kernels());
    let pairs = agree + differ;
    assert!(agree * 2 > pairs, "{agree} of {pairs} pairs agree");
    assert!(differ > 0, "the corpus has functions that some kernels lack");
}

/// Every message that shows the function or its types.
#[test]
fn every_function_hooked_in_ways_that_are_spoken_of() {
    let kernels = kernels();
    let mut texts = Vec::new();
    for kernel in &kernels {
        let lsm = kernel.functions().filter_map(|name| name.strip_prefix("bpf_lsm_"));
        texts.extend(lsm.step_by(11).map(|hook| {
            format!("lsmhooks: [{{hook: {hook}, args: [{{index: 0, type: int}}, {{index: 5, type: file}}]}}]")
        }));
        let calls = kernel.syscalls().map(|name| (name, true)).step_by(17);
        let functions = kernel.functions().map(|name| (name, false)).step_by(307);
        texts.extend(calls.chain(functions).flat_map(|(call, syscall)| {
            let hook = |args: &str, filter: u32| {
                format!(
                    "kprobes: [{{call: {call:?}, syscall: {syscall}, return: true, returnArg: {{index: 0, type: file}}, \
                     args: {args}, selectors: [{{matchArgs: [{{index: {filter}, operator: Equal, values: [\"1\"]}}]}}]}}]"
                )
            };
            [hook("[{index: 0, type: int}, {index: 3, type: int8}]", 0), hook("[]", 1)]
        }));
    }
    let all: Vec<Policy> = texts
        .iter()
        .flat_map(|spec| {
            let kind = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\n";
            policies(&format!("{kind}spec: {{{spec}}}\n"))
        })
        .collect();
    assert!(all.len() > 1000, "{}", all.len());
    let (agree, differ) = compare(&all, &kernels);
    assert!(agree > 2000 && differ > 2000, "{agree} pairs agree, {differ} don't");
}

/// The findings on `host_ns` come from the node rather than from its kernel.
#[test]
fn other_namespaces_are_other_answers() {
    let kernel = Profile::shipped("6.12").unwrap();
    let policy = &policies(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec: {kprobes: [{call: sys_dup}]}\n",
    )[0];
    let (some, none) = (host_namespaces(), BTreeMap::new());
    let [a, b] = [&some, &none]
        .map(|host_namespaces| Answers::of(policy, Environment { kernel: &kernel, host_namespaces }));
    assert!(a.agree(&a.clone()) && !a.agree(&b));
}
