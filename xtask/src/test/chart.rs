//! The suite `chart`: the helm chart, its alerts and its dashboard.

mod alerts;
mod files;
mod monitoring;
mod queries;
mod render;
mod stack;

use std::thread;

use anyhow::Result;

use super::{Context, counts::Counts};
use crate::setup::chart as programs;

pub(super) fn run(context: &Context) -> Result<Counts> {
    let cache = &context.tools.cache;
    let programs = programs::Programs::ready(cache)?;
    let built = context.built()?;
    // It waits most of its time: the others run meanwhile.
    thread::scope(|scope| {
        let monitoring = scope.spawn(|| monitoring::run(&programs, built, cache));
        let mut tests = Tests::default();
        let outcome = quick(&mut tests, &programs);
        tests.holds("the suite could be run", outcome);
        let counts = match monitoring.join() {
            Ok(Ok(monitoring)) => tests.counts.and(monitoring.counts),
            Ok(Err(error)) => {
                tests.holds("monitoring a real agent", Err(error));
                tests.counts
            }
            Err(_) => tests.counts.and(Counts::failure("monitoring broke down")),
        };
        Ok(counts)
    })
}

/// What needs no VM.
fn quick(tests: &mut Tests, programs: &programs::Programs) -> Result<()> {
    files::run(tests)?;
    render::run(tests, programs)?;
    alerts::run(tests, programs)?;
    queries::run(tests)
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
