//! The suite `chart`: the helm chart, its alerts and its dashboard.

mod alerts;
mod cluster;
mod files;
mod gate;
mod monitoring;
mod picture;
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

/// Those that need no VM, in the order in which they run.
const PARTS: &[Part] = &[
    ("files", |tests, _| files::run(tests)),
    ("render", |tests, programs| {
        render::run(tests, programs);
        Ok(())
    }),
    ("alerts", alerts::run),
    ("queries", queries::run),
    ("gate", gate::run),
    ("cluster", cluster::run),
    ("scrape", scrape::run),
];

/// Those that run only when they are named.
const NAMED: &[Part] = &[("picture", picture::run)];

pub(super) fn run(context: &Context) -> Result<Counts> {
    let wanted =
        |part: &str| context.passed_on.is_empty() || context.passed_on.iter().any(|name| name == part);
    let cache = &context.tools.cache;
    let programs = Programs::ready(cache)?;
    let built = if wanted("monitoring") { Some(context.built()?) } else { None };
    // Monitoring waits most of its time: the others run meanwhile.
    thread::scope(|scope| {
        let programs = &programs;
        let monitoring = built.map(|built| scope.spawn(move || monitoring::run(programs, built, cache)));
        let mut tests = Tests::default();
        let named = NAMED.iter().filter(|(part, _)| context.passed_on.iter().any(|name| name == part));
        for (part, run) in PARTS.iter().filter(|(part, _)| wanted(part)).chain(named) {
            if let Err(error) = run(&mut tests, programs) {
                tests.holds(&format!("the part {part} runs to its end"), Err(error));
            }
        }
        match monitoring.map(thread::ScopedJoinHandle::join) {
            None => {}
            Some(Ok(Ok(monitoring))) => tests.counts = tests.counts.and(monitoring.counts),
            Some(Ok(Err(error))) => tests.holds("monitoring runs to its end", Err(error)),
            Some(Err(_)) => tests.verdict("monitoring runs to its end", &["it broke down".to_owned()]),
        }
        Ok(tests.counts)
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
        for fault in faults {
            println!("{fault}");
        }
        println!("test {name} ... {}", if faults.is_empty() { "ok" } else { "FAILED" });
        self.counts = std::mem::take(&mut self.counts).and(Counts::one(name, faults.is_empty()));
    }

    /// One test that is an action.
    fn holds(&mut self, name: &str, outcome: Result<()>) {
        let faults: Vec<String> = outcome.err().map(|error| format!("{error:#}")).into_iter().collect();
        self.verdict(name, &faults);
    }
}
