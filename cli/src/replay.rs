//! `gatewatch replay`: which recorded events a changed policy would count. The reference evaluator decides, as in unit
//! tests.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write as _},
    process::ExitCode,
};

use anyhow::{Result, bail};
use gatewatch_events::{Event, compact::Compact};

use crate::{
    FAILED,
    arguments::Replay,
    events::records,
    print_message,
    report::counted,
    test::{Replayed, Suite},
};

/// Counts of the records, by outcome.
#[derive(Default)]
struct Summary {
    /// By policy.
    counted: BTreeMap<String, u64>,
    any: u64,
    not_counted: u64,
    /// Records of functions that no policy hooks.
    elsewhere: u64,
    /// By what the records lack.
    unknown: BTreeMap<String, u64>,
}

/// Shows what policies would count.
pub(crate) fn run(arguments: &Replay) -> Result<ExitCode> {
    let suite = Suite::load(&arguments.policies, arguments.kernel.as_deref())?;
    let mut output = BufWriter::new(io::stdout().lock());
    let mut summary = Summary::default();
    let faults = records(&arguments.file, |event| {
        if event.matched().is_none() {
            return Ok(());
        }
        let outcome = suite.replay(&event)?;
        if let (Replayed::Counted(by), false) = (&outcome, arguments.quiet) {
            writeln!(output, "{}\n    counted by {}", Compact::of(&event).line(), by.join(", "))?;
        }
        summary.add(&event, outcome);
        Ok(())
    })?;
    output.flush()?;
    summary.print();
    if faults > 0 {
        bail!("{} not a record", counted(usize::try_from(faults)?, "line is", "lines are"));
    }
    Ok(if summary.unknown.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

impl Summary {
    fn add(&mut self, event: &Event, outcome: Replayed) {
        match outcome {
            Replayed::Counted(by) => {
                self.any += 1;
                for policy in by {
                    *self.counted.entry(policy).or_default() += 1;
                }
            }
            Replayed::NotCounted => self.not_counted += 1,
            Replayed::NoHook => self.elsewhere += 1,
            Replayed::Unknown(what) => {
                let function = event.label().unwrap_or_default();
                *self.unknown.entry(format!("{what}, in records of {function}")).or_default() += 1;
            }
        }
    }

    fn print(&self) {
        print_message(&format!("{} counted, {} not counted", self.any, self.not_counted));
        for (policy, number) in &self.counted {
            print_message(&format!("counted by {policy}: {number}"));
        }
        if self.elsewhere > 0 {
            print_message(&format!("{} of functions that these policies do not hook", self.elsewhere));
        }
        for (what, number) in &self.unknown {
            print_message(&format!(
                "{number} cannot be decided: the policies read {what}, which the records lack"
            ));
        }
    }
}
