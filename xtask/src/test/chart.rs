//! The suite `chart`: the helm chart, its alerts and its dashboard.

mod alerts;
mod cluster;
mod files;
mod gate;
mod monitoring;
mod picture;
mod platforms;
mod queries;
mod releases;
mod render;
mod scrape;
mod stack;

use std::thread;

use anyhow::Result;

use super::{Context, counts::Counts};
use crate::setup::chart::Programs;

/// The parts of the suite, which arguments choose from: `cargo xtask test chart -- alerts`.
type Part = (&'static str, fn(&mut Tests, &Programs) -> Result<()>);

/// Those that need no VM. The groups run side by side, the parts of a group one after the other: `cluster` waits for its API
/// server, and `scrape` for Prometheus.
const PARTS: &[&[Part]] = &[
    &[
        ("files", |tests, _| files::run(tests)),
        ("render", |tests, programs| {
            render::run(tests, programs);
            Ok(())
        }),
        ("platforms", platforms::run),
        ("alerts", alerts::run),
        ("queries", queries::run),
        ("gate", gate::run),
    ],
    &[("cluster", cluster::run)],
    &[("scrape", scrape::run)],
];

/// Those that run only when they are named.
const NAMED: &[Part] = &[("picture", picture::run)];

pub(super) fn run(context: &Context) -> Result<Counts> {
    let wanted =
        |part: &str| context.passed_on.is_empty() || context.passed_on.iter().any(|name| name == part);
    let cache = &context.tools.cache;
    let programs = Programs::ready(cache)?;
    let built = if wanted("monitoring") { Some(context.built()?) } else { None };
    let named = |part: &Part| context.passed_on.iter().any(|name| name == part.0);
    let programs = &programs;
    let run = |parts: Vec<Part>| {
        let mut tests = Tests::default();
        for (part, run) in parts {
            if let Err(error) = run(&mut tests, programs) {
                tests.holds(&format!("the part {part} runs to its end"), Err(error));
            }
        }
        tests.counts
    };
    thread::scope(|scope| {
        let mut threads = Vec::new();
        if let Some(built) = built {
            threads.push((
                "monitoring",
                scope.spawn(move || match monitoring::run(programs, built, cache) {
                    Ok(tests) => tests.counts,
                    Err(error) => {
                        let mut tests = Tests::default();
                        tests.holds("monitoring runs to its end", Err(error));
                        tests.counts
                    }
                }),
            ));
        }
        for group in PARTS {
            let parts: Vec<Part> = group.iter().copied().filter(|(part, _)| wanted(part)).collect();
            let Some((first, _)) = parts.first() else { continue };
            threads.push((*first, scope.spawn(move || run(parts))));
        }
        let mut counts = run(NAMED.iter().copied().filter(named).collect());
        for (first, thread) in threads {
            counts = counts.and(thread.join().unwrap_or_else(|_| {
                println!("the thread of the part {first} panicked");
                Counts::failure(format!("the part {first} runs to its end"))
            }));
        }
        Ok(counts)
    })
}

/// Takes the outcome of each test and says it.
#[derive(Debug, Default)]
struct Tests {
    counts: Counts,
}

impl Tests {
    /// One test, with its faults printed.
    fn verdict(&mut self, name: &str, faults: &[String]) {
        // In one piece: other threads print, too.
        let outcome = format!("test {name} ... {}", if faults.is_empty() { "ok" } else { "FAILED" });
        println!("{}", [faults, &[outcome]].concat().join("\n"));
        self.counts = std::mem::take(&mut self.counts).and(Counts::one(name, faults.is_empty()));
    }

    /// One test, with the faults of each of its parts.
    fn all(&mut self, name: &str, faults: Result<Vec<Vec<String>>>) {
        match faults {
            Ok(faults) => self.verdict(name, &faults.concat()),
            Err(error) => self.holds(name, Err(error)),
        }
    }

    /// One test that is an action.
    fn holds(&mut self, name: &str, outcome: Result<()>) {
        let faults: Vec<String> = outcome.err().map(|error| format!("{error:#}")).into_iter().collect();
        self.verdict(name, &faults);
    }
}
