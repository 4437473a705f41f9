//! Fuzzing on the stable compiler: texts and profiles that are mutated at random, from the corpus on, for a time.
//!
//! `GATEWATCH_FUZZ_SECONDS` is the time for each target (2 where it isn't set), `GATEWATCH_FUZZ_SEED` where the random
//! numbers begin. What fails is written to the output, with its seed. Each input has a time in which an answer
//! must be there; a panic fails the test in any case.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

#[path = "common/findings.rs"]
mod common;

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    time::{Duration, Instant},
};

use gatewatch_kernel::Profile;
use gatewatch_policy::{
    assess::{Against, Checked, assess},
    compile::{Environment, compile},
    diagnostic::{Diagnostic, FieldPath, Step},
    dropped,
    evaluate::{Event, Value, evaluate},
    labels::{self, Subject},
    match_tables::{Hook, build},
    model::{LabelExpression, LabelOperator, LabelSelector},
    plan::Field,
    schema::Schemas,
    source::{Document, parse, parse_bytes},
};

use self::common::{all_targets, assessed, corpus, cpu_time, host_namespaces};

/// Of the processor's time: without optimization it is slow, but a hang is slower.
const TOO_LONG: Duration = Duration::from_secs(20);
const LONGEST: usize = 1 << 20;

/// Words of the language, and what is awkward in YAML and in values.
const WORDS: &[&str] = &[
    "kprobes:",
    "selectors:",
    "matchArgs:",
    "values:",
    "operator: ",
    "Equal",
    "Prefix",
    "Postfix",
    "Mask",
    "InRange",
    "NotDAddr",
    "In",
    "NotIn",
    "Exists",
    "CelExpr",
    "index: ",
    "type: ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    ": ",
    "\n",
    "\n---\n",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "|\n",
    ">\n",
    "\"",
    "'",
    "\\",
    "\\0",
    "#",
    "\t",
    "\0",
    "0x",
    "-1",
    "9223372036854775808",
    "340282366920938463463374607431768211456",
    "1:5",
    "5:1",
    "::/0",
    "0.0.0.0/0",
    "/",
    "list:x",
    "CAP_BPF",
    "host_ns",
    "é",
    "\u{feff}",
    "~",
    "null",
    "yes",
    "1e999",
    ".inf",
    "selectorsMacros:",
    "macros: [m]",
    "followChildren: true",
    "return: true",
    "syscall: false",
    "matchWorkloads: {}",
    "podSelector: {}",
    "kind: TracingPolicyNamespaced",
];

/// xorshift64*, by Vigna: quick, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or_default()
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// One input out of one or two others.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(60)).min(bytes.len());
        match random.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.next().to_le_bytes()[7],
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            4 => {
                let part = bytes[at..end].repeat(1 + random.below(40));
                bytes.splice(at..at, part);
            }
            5 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                bytes.splice(at.., other[from..].iter().copied());
            }
            _ => drop(bytes.splice(at..at, random.of(WORDS).bytes())),
        }
        bytes.truncate(LONGEST);
    }
    bytes
}

/// Runs a target until its time is over.
fn fuzz(target: &str, seeds: &[Vec<u8>], mut run: impl FnMut(&[u8])) {
    let number =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let time = Duration::from_secs(number("GATEWATCH_FUZZ_SECONDS", 2));
    // Every run begins at another seed, and prints it.
    let clock = std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.subsec_nanos().into());
    let seed = number("GATEWATCH_FUZZ_SEED", clock).max(1);
    let mut random = Random(seed);
    for seed in seeds {
        run(seed);
    }
    let begun = Instant::now();
    let mut inputs = 0_u64;
    while begun.elapsed() < time {
        let input = mutated(seeds, &mut random);
        let started = cpu_time();
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&input)));
        let took = cpu_time().saturating_sub(started);
        if outcome.is_err() || took > TOO_LONG {
            println!("{target}: seed {seed}, input {inputs}, {took:?}:\n{}", String::from_utf8_lossy(&input));
        }
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        assert!(took <= TOO_LONG, "{target}: {took:?}");
        inputs += 1;
    }
    println!("{target}: {inputs} inputs in {:?}, seed {seed}", begun.elapsed());
    assert!(inputs > 0);
}

fn policies() -> Vec<Vec<u8>> {
    let mut files: Vec<_> = ["good", "warn", "bad"].iter().flat_map(|folder| corpus(folder)).collect();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    for group in ["standard", "application"] {
        files.extend(fs::read_dir(shipped.join(group)).unwrap().map(|entry| entry.unwrap().path()));
    }
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn parser() {
    fuzz("parser", &policies(), |bytes| {
        for document in parse_bytes(bytes) {
            let json = document.root.to_json();
            let _ = Document::from_json(&json);
            for finding in &document.findings {
                assert!(
                    finding
                        .span
                        .is_none_or(|span| span.end as usize <= bytes.len() && span.start <= span.end)
                );
            }
        }
    });
}

#[test]
fn checker() {
    let selection = all_targets();
    let against = Against { schemas: Some(Schemas::shipped()), ..Against::new(&selection) };
    fuzz("checker", &policies(), |bytes| {
        for document in parse_bytes(bytes) {
            let analysis = assess(&document, &against);
            let json = document.root.to_json();
            let _ = dropped::check(&String::from_utf8_lossy(bytes), &json);
            for finding in &analysis.findings {
                let fix = finding.diagnostic.fix.as_ref();
                assert!(
                    fix.is_none_or(|fix| document.get(&fix.path).is_some()
                        || finding.diagnostic.path.0.is_empty()
                        || fix.path.0.contains(&selectors_macros())),
                    "{finding:?}"
                );
            }
        }
    });
}

/// Macros are named by their own places.
fn selectors_macros() -> Step {
    Step::Field("selectorsMacros".into())
}

/// An event of which everything is the same.
struct Same(Option<Value>);

impl Event for Same {
    fn value(&self, _: Field) -> Option<Value> {
        self.0.clone()
    }

    fn lineage(&self) -> Vec<Vec<u8>> {
        vec![b"/usr/bin/sudo".to_vec()]
    }
}

#[test]
fn compiler() {
    let kernel = Profile::shipped("6.12").unwrap();
    let host_namespaces = host_namespaces();
    let events = [
        None,
        Some(Value::Int(2)),
        Some(Value::Text(b"/etc/passwd".to_vec())),
        Some(Value::Address([0; 16])),
    ];
    fuzz("compiler", &policies(), |bytes| {
        for document in parse_bytes(bytes) {
            let Ok(checked) = Checked::of(&document) else { continue };
            let environment = Environment { kernel: &kernel, host_namespaces: &host_namespaces };
            let (plan, found) = compile(&checked.policy, environment);
            let stopped = found.iter().any(Diagnostic::stops_gatewatch);
            assert!(plan.is_none() || !stopped, "{found:?}");
            // A macro that could not be expanded is reported by a rule.
            let has_macros = bytes.windows(6).any(|window| window == b"macros");
            assert!(plan.is_some() || stopped || has_macros, "{}", String::from_utf8_lossy(bytes));
            for hook in plan.iter().flat_map(|plan| &plan.hooks) {
                for event in &events {
                    evaluate(hook, &Same(event.clone()));
                }
                let _ = build(&hook.point, &[Hook { id: 1, policy: 0, plan: hook }], &[vec![true]], 6);
            }
        }
    });
}

#[test]
fn label_selectors() {
    let seeds = [
        "app",
        "app.kubernetes.io/name",
        "a-value",
        "k8s:io.kubernetes.pod.namespace",
        "x/y/z",
        "",
        "-a",
        "é",
    ];
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    fuzz("label selectors", &seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let words: Vec<String> = text.split([' ', ',', '\n']).map(str::to_owned).collect();
        let expressions = words.chunks(3).zip(LabelOperator::ALL.iter().cycle()).map(|(chunk, operator)| {
            LabelExpression { key: chunk[0].clone(), operator: *operator, values: chunk[1..].to_vec() }
        });
        let selector = LabelSelector {
            match_labels: words.iter().take(3).map(|word| (word.clone(), word.clone())).collect(),
            match_expressions: expressions.collect(),
        };
        let labels: BTreeMap<String, String> =
            words.iter().map(|word| (word.clone(), word.clone())).collect();
        for subject in [Subject::Pod, Subject::Container, Subject::Node] {
            let found = labels::check(&selector, subject, &FieldPath::root());
            let contradicts = found.iter().any(|d| d.code.id == "GW104");
            assert!(!(contradicts && selector.matches(&labels)), "{selector:?}");
        }
    });
}

#[test]
fn profile_reader() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel/profiles");
    let whole = fs::read(folder.join("5.10.profile")).unwrap();
    // Whole ones take long to read, so most are beginnings.
    let mut seeds: Vec<Vec<u8>> =
        [40, 200, 1000, 2000, 5000].iter().map(|end| whole[..*end].to_vec()).collect();
    seeds.push(whole);
    seeds.push(b"GWPRO".to_vec());
    fuzz("profile reader", &seeds, |bytes| {
        if let Ok(profile) = Profile::from_bytes(bytes) {
            let _ = (
                profile.function("security_file_open"),
                profile.syscall("sys_execve"),
                profile.layout().is_ok(),
            );
            let _ = gatewatch_policy::nearest::functions(&profile, "tcp_conect", 3);
        }
    });
}

/// What a process has had of memory at most since it was last asked, in bytes.
#[cfg(target_os = "linux")]
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// A mebibyte of anything takes a bounded multiple of it.
#[cfg(target_os = "linux")]
#[test]
fn memory_is_in_proportion_to_the_input() {
    let before = peak();
    let policy = String::from_utf8(policies().remove(0)).unwrap();
    for text in [
        "- [a, {b: c}]\n".repeat(LONGEST / 14),
        policy.replace("---", "").repeat(1 + LONGEST / policy.len()),
        "a: &a [1, 2, 3, 4, 5, 6, 7, 8]\nb: [".to_owned() + &"*a, ".repeat(LONGEST / 4) + "]\n",
        "[".repeat(LONGEST),
        "a: \"".to_owned() + &"x".repeat(LONGEST) + "\"\n",
        "{a: 1},".repeat(LONGEST / 7),
    ] {
        for document in parse(&text) {
            assessed(&document);
        }
    }
    let used = peak().saturating_sub(before);
    println!("{} MiB for inputs of 1 MiB", used >> 20);
    assert!(used < 1 << 30, "{used} bytes");
}
