//! `cargo xtask test`: every suite, quick ones first, or those that are named.

mod beside;
mod chart;
mod cluster;
mod counts;
mod deny;
mod events;
mod suites;
mod tidy;
mod usage;

use std::{
    cell::OnceCell,
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Args;

use self::{counts::Counts, suites::Extent};
use crate::{
    build::{self, BpfObjects, Built, Profile},
    cache::Cache,
    image::Kernel,
    progress::say,
    setup::{self, Tools, chart::Programs},
};

/// Options of `cargo xtask test`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The suites to run, by name or group (`vm` is vm-5.10, vm-6.1, …) [default: all]
    #[arg(value_name = "SUITE")]
    suites: Vec<String>,
    /// List the suites without running them
    #[arg(long)]
    list: bool,
    /// Run the suites one after the other
    #[arg(long)]
    serial: bool,
    /// Write the report of the suite to this file (a process that runs several suites uses this)
    #[arg(long, hide = true, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Arguments for the suite: part of a test's name for `unit` and `vm`, a part's name for `chart`, parts and paths for `tidy`
    #[arg(last = true, value_name = "ARGUMENT")]
    passed_on: Vec<String>,
}

/// One suite. To add one, add a line to [`SUITES`].
struct Suite {
    name: &'static str,
    about: &'static str,
    run: fn(&Context) -> Result<Counts>,
}

/// In the order in which they run.
const SUITES: &[Suite] = &[
    Suite { name: "fmt", about: "formatting, by rustfmt", run: suites::format },
    Suite { name: "tidy", about: "rules for sources and docs that no other tool checks", run: tidy::run },
    Suite { name: "deny", about: "licences, sources and versions of all dependencies", run: deny::run },
    Suite { name: "lint", about: "clippy without a warning", run: suites::lint },
    Suite { name: "unit", about: "the tests that need no kernel", run: suites::unit },
    Suite { name: "chart", about: "the helm chart, its alerts and its dashboard", run: chart::run },
    Suite { name: "fuzz", about: "randomly corrupted policies and profiles", run: suites::fuzz },
    Suite { name: "gate", about: "the webhook with a real API server and kubectl", run: suites::gate },
    Suite {
        name: "vm-6.12",
        about: "every test of the agent in a VM, on Debian 13's kernel",
        run: |context| suites::vm(context, Kernel::V6_12, Extent::Complete),
    },
    Suite {
        name: "vm-5.10",
        about: "the tests that depend on the kernel's version, on Debian 11's kernel",
        run: |context| suites::vm(context, Kernel::V5_10, Extent::VersionDependent),
    },
    Suite {
        name: "vm-6.1",
        about: "the tests that depend on the kernel's version, on Debian 12's kernel",
        run: |context| suites::vm(context, Kernel::V6_1, Extent::VersionDependent),
    },
    Suite {
        name: "vm-7.3",
        about: "every test of the agent in a VM, on Debian's newest kernel",
        run: |context| suites::vm(context, Kernel::V7_3, Extent::Complete),
    },
    Suite {
        name: "cost-6.12",
        about: "the cost of an event in instructions, on Debian 13's kernel",
        run: |context| suites::cost(context, Kernel::V6_12),
    },
    Suite {
        name: "cost-7.3",
        about: "what an event costs, in instructions, on Debian's newest kernel",
        run: |context| suites::cost(context, Kernel::V7_3),
    },
];

/// Those that run beside each other, in the order in which they begin: the longest first, so that at the end none runs alone
/// for long. The others compile, which keeps all processors busy.
const TOGETHER: &[&str] =
    &["vm-7.3", "chart", "vm-6.12", "vm-5.10", "vm-6.1", "gate", "cost-7.3", "cost-6.12"];

/// Suites that run only where they are named: they take long, or want more than a machine.
const BY_NAME: &[Suite] = &[
    Suite {
        name: "advisories",
        about: "known vulnerabilities of dependencies; fetches the RustSec database",
        run: deny::advisories,
    },
    Suite {
        name: "hostile",
        about: "attacks on the agent by a pod, on Debian 13's kernel; a part of vm-6.12",
        run: |context| suites::hostile(context, Kernel::V6_12),
    },
    Suite {
        name: "hostile-7.3",
        about: "attacks on the agent by a pod, on Debian's newest kernel; a part of vm-7.3",
        run: |context| suites::hostile(context, Kernel::V7_3),
    },
    Suite {
        name: "events",
        about: "Tetragon's own reader, GATEWATCH_TETRA, on samples of all records",
        run: events::run,
    },
    Suite { name: "cluster", about: "on a Kubernetes cluster whose node is a VM", run: cluster::run },
    Suite {
        name: "load-6.12",
        about: "long: floods, and starved and stopped agents, on Debian 13's kernel",
        run: |context| suites::load(context, Kernel::V6_12),
    },
    Suite {
        name: "load-5.10",
        about: "long: floods, and starved and stopped agents, on Debian 11's kernel",
        run: |context| suites::load(context, Kernel::V5_10),
    },
    Suite {
        name: "load-6.1",
        about: "long: floods, and starved and stopped agents, on Debian 12's kernel",
        run: |context| suites::load(context, Kernel::V6_1),
    },
    Suite {
        name: "load-7.3",
        about: "long: floods, and starved and stopped agents, on Debian's newest kernel",
        run: |context| suites::load(context, Kernel::V7_3),
    },
    Suite {
        name: "endurance-cluster",
        about: "long: random actions on a cluster for half an hour, with API server restarts",
        run: cluster::endurance,
    },
    Suite {
        name: "endurance-6.12",
        about: "long: random actions for half an hour, on Debian 13's kernel",
        run: |context| suites::endurance(context, Kernel::V6_12),
    },
    Suite {
        name: "endurance-5.10",
        about: "long: random actions for half an hour, on Debian 11's kernel",
        run: |context| suites::endurance(context, Kernel::V5_10),
    },
    Suite {
        name: "endurance-6.1",
        about: "long: random actions for half an hour, on Debian 12's kernel",
        run: |context| suites::endurance(context, Kernel::V6_1),
    },
    Suite {
        name: "endurance-7.3",
        about: "long: random actions for half an hour, on Debian's newest kernel",
        run: |context| suites::endurance(context, Kernel::V7_3),
    },
];

/// What suites share. What takes long is made when the first suite asks for it.
struct Context {
    tools: Tools,
    /// Arguments for the test programs.
    passed_on: Vec<String>,
    bpf_objects: OnceCell<BpfObjects>,
    built: OnceCell<Built>,
}

impl Context {
    fn bpf_objects(&self) -> Result<&BpfObjects> {
        if let Some(bpf_objects) = self.bpf_objects.get() {
            return Ok(bpf_objects);
        }
        let made = build::build_bpf_objects(&self.tools)?;
        Ok(self.bpf_objects.get_or_init(|| made))
    }

    fn built(&self) -> Result<&Built> {
        if let Some(built) = self.built.get() {
            return Ok(built);
        }
        let made = build::build(&self.tools, Profile::Dev)?;
        Ok(self.built.get_or_init(|| made))
    }
}

/// How one suite went.
struct Report {
    name: &'static str,
    took: Duration,
    /// The processor time that it used.
    used: Duration,
    counts: Counts,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    let chosen = choose(&arguments.suites)?;
    if arguments.list {
        for suite in chosen {
            println!("{:12} {}", suite.name, suite.about);
        }
        for suite in BY_NAME.iter().filter(|_| arguments.suites.is_empty()) {
            println!("{:12} {} (runs only if named)", suite.name, suite.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let context = Context {
        tools: setup::tools()?,
        passed_on: arguments.passed_on.clone(),
        bpf_objects: OnceCell::new(),
        built: OnceCell::new(),
    };
    let is_serial = arguments.serial || !arguments.passed_on.is_empty();
    let at_once = if is_serial { 1 } else { beside::at_once() };
    let place = |suite: &Suite| TOGETHER.iter().position(|name| *name == suite.name);
    let (mut together, alone): (Vec<_>, Vec<_>) =
        chosen.iter().copied().partition(|suite| place(suite).is_some());
    together.sort_by_key(|suite| place(suite));
    if at_once > 1 && !alone.is_empty() && together.iter().any(|suite| suite.name == "chart") {
        fetch_ahead(&context.tools.cache);
    }
    let mut reports: Vec<Report> = alone.into_iter().map(|suite| run(suite, &context)).collect();
    if at_once == 1 || together.len() == 1 {
        reports.extend(together.into_iter().map(|suite| run(suite, &context)));
    } else if !together.is_empty() {
        // Now, so that none of them waits for another one's compiler.
        if let Err(error) = context.built() {
            println!("error: {error:#}");
        }
        reports.extend(beside::run(&together, at_once)?);
    }
    reports.sort_by_key(|report| chosen.iter().position(|suite| suite.name == report.name));
    if let (Some(path), [report]) = (&arguments.report, &reports[..]) {
        // The process that reads it prints the summary.
        beside::write_report(path, report)?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(summary(&reports))
}

/// Begins to build the programs that the suites `chart` and `gate` need. Rust's compiler works on one crate alone now and
/// then, which leaves a processor to the Go compiler.
fn fetch_ahead(cache: &Cache) {
    let cache = cache.clone();
    // Those suites wait for it by a lock in the cache.
    thread::spawn(move || {
        if let Err(error) = Programs::ready(&cache) {
            say(&format!("cannot build the programs for the chart's tests yet: {error:#}"));
        }
    });
}

/// Runs a suite in this process.
fn run(suite: &'static Suite, context: &Context) -> Report {
    println!("\n=== {}: {}", suite.name, suite.about);
    let (began, used_before) = (Instant::now(), usage::processor_time());
    let counts = (suite.run)(context).unwrap_or_else(|error| {
        // A suite that could not be run is a failure among the others, not the end of them.
        println!("error: {error:#}");
        Counts::failure("the suite could not be run")
    });
    let report = Report {
        name: suite.name,
        took: began.elapsed(),
        used: usage::processor_time().saturating_sub(used_before),
        counts: counts.at_least_one(),
    };
    println!("{}", line(&report));
    report
}

/// The suites that `names` mean; all but those [`BY_NAME`], when there are none.
fn choose(names: &[String]) -> Result<Vec<&'static Suite>> {
    let means = |name: &str, suite: &Suite| {
        suite.name == name || suite.name.split_once('-').is_some_and(|(group, _)| group == name)
    };
    let all = || SUITES.iter().chain(BY_NAME);
    if let Some(unknown) = names.iter().find(|name| !all().any(|suite| means(name, suite))) {
        let known: Vec<&str> = all().map(|suite| suite.name).collect();
        bail!("unknown suite {unknown}; expected one of {}", known.join(", "));
    }
    if names.is_empty() {
        return Ok(SUITES.iter().collect());
    }
    Ok(all().filter(|suite| names.iter().any(|name| means(name, suite))).collect())
}

fn line(Report { name, took, used, counts }: &Report) -> String {
    let verdict = if counts.failed == 0 { "ok" } else { "FAILED" };
    let Counts { passed, failed, ignored, .. } = counts;
    let ignored = if *ignored == 0 { String::new() } else { format!("  ({ignored} ignored)") };
    let (took, used) = (took.as_secs_f64(), used.as_secs_f64());
    format!(
        "{name:12} {took:>7.1} s  CPU {used:>7.1} s  {passed:>5} passed {failed:>4} failed  {verdict}{ignored}"
    )
}

/// Prints the table, the names of what failed, and last of all the sums.
fn summary(reports: &[Report]) -> ExitCode {
    println!("\n=== summary");
    for report in reports {
        println!("{}", line(report));
        for failure in &report.counts.failures {
            println!("             {failure}");
        }
    }
    let passed: u64 = reports.iter().map(|report| report.counts.passed).sum();
    let failed: u64 = reports.iter().map(|report| report.counts.failed).sum();
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(chosen: &[&str]) -> Vec<&'static str> {
        let chosen: Vec<String> = chosen.iter().map(|&name| name.to_owned()).collect();
        choose(&chosen).unwrap().iter().map(|suite| suite.name).collect()
    }

    #[test]
    fn suites_are_chosen_by_name_and_by_group() {
        assert_eq!(names(&["unit", "fmt"]), ["fmt", "unit"]);
        assert_eq!(names(&["vm"]).len(), 4);
        assert_eq!(names(&[]).len(), SUITES.len());
        assert_eq!(names(&["cluster"]), ["cluster"]);
        assert!(TOGETHER.iter().all(|name| names(&[]).contains(name)));
        assert!(choose(&["v".to_owned()]).is_err());
    }
}
