//! Suites that run beside each other, each in a process of its own. The lines of their output are printed as they are
//! written, each after its suite's name.
//!
//! Suites in VMs and those with a cluster wait for a good part of their time, or use one processor. On their own, each would
//! leave the rest of the machine idle.

mod follow;

use std::{
    fs::{self, File},
    io,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use self::follow::Follower;
use super::{Report, Suite, counts::Counts};
use crate::paths;

/// Suites at once. Two VMs have four processors together, so on two cores more would only make each of them late.
const AT_ONCE: usize = 2;

/// The memory that a suite can take, in KiB: a VM of 2 GiB, an API server and Prometheus.
const MEMORY: u64 = 3 << 20;

/// The time between two reads of a suite's log. The suite writes into a file and not into a pipe: a program that it leaves
/// behind could keep a pipe open.
const INTERVAL: Duration = Duration::from_millis(200);

/// The folder of logs and reports, in Cargo's target folder.
const FOLDER: &str = "suites";

/// How many suites this machine's free memory suffices for, one at least.
pub(super) fn at_once() -> usize {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    available(&text).map_or(1, |kib| usize::try_from(kib / MEMORY).unwrap_or(AT_ONCE)).clamp(1, AT_ONCE)
}

/// `MemAvailable` of /proc/meminfo (proc(5)), in KiB.
fn available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Runs all of `suites`, `at_once` of them at a time, in their order. The reports have the same order.
pub(super) fn run(suites: &[&'static Suite], at_once: usize) -> Result<Vec<Report>> {
    let folder = paths::target().join(FOLDER);
    // Without the reports of an earlier run.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(suite) = suites.get(index) else { return };
                    let report = run_one(suite, &folder);
                    reports.lock().unwrap_or_else(PoisonError::into_inner).push((index, report));
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    reports.sort_by_key(|(index, _)| *index);
    Ok(reports.into_iter().map(|(_, report)| report).collect())
}

/// Runs one suite and prints its output as it is written.
fn run_one(suite: &'static Suite, folder: &Path) -> Report {
    let log = folder.join(format!("{}.log", suite.name));
    println!("\n=== {} begins; its output is also in {}", suite.name, log.display());
    let began = Instant::now();
    let report = child(suite, &folder.join(format!("{}.json", suite.name)), &log);
    report.unwrap_or_else(|error| {
        println!("{} | error: {error:#}", suite.name);
        Report {
            name: suite.name,
            took: began.elapsed(),
            used: Duration::ZERO,
            counts: Counts::failure("the suite could not be run"),
        }
    })
}

fn child(suite: &'static Suite, report: &Path, log: &Path) -> Result<Report> {
    let writer = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
    let errors = writer.try_clone().context("cannot share the log")?;
    // This very program, even if a newer one has been built in its place meanwhile.
    let program = format!("/proc/{}/exe", std::process::id());
    // setpriv ensures that the child does not outlive this process, however that ends.
    let mut running = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", &program, "test", suite.name, "--report"])
        .arg(report)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .spawn()
        .context("cannot run setpriv")?;
    if let Err(error) = follow(suite, &mut running, log) {
        // Otherwise it would run beside one suite more than there is room for.
        let _ = running.kill();
        let _ = running.wait();
        return Err(error);
    }
    let text = fs::read_to_string(report).context("the suite ended without a report")?;
    let (took, used, counts) = serde_json::from_str(&text).context("the suite's report is not valid")?;
    Ok(Report { name: suite.name, took, used, counts })
}

/// Prints the log of a suite until the suite ends.
fn follow(suite: &Suite, running: &mut Child, log: &Path) -> Result<()> {
    let mut follower = Follower::new(suite.name, log)?;
    loop {
        // Checked first, so that the last read finds everything.
        let ended = running.try_wait().context("cannot wait for the suite")?.is_some();
        follower.pass_on(&mut io::stdout())?;
        if ended {
            follower.end(&mut io::stdout());
            return Ok(());
        }
        thread::sleep(INTERVAL);
    }
}

/// Writes the report of the one suite that a child was to run, for [`run`] to read.
pub(super) fn write_report(path: &Path, Report { took, used, counts, .. }: &Report) -> Result<()> {
    let text = serde_json::to_string(&(took, used, counts)).context("cannot serialize the report")?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_is_read() {
        assert_eq!(
            available("MemTotal:  8 kB\nMemAvailable:   15998340 kB\nBuffers: 1 kB\n"),
            Some(15_998_340)
        );
        assert_eq!(available("MemTotal: 8 kB\n"), None);
        assert!((1..=AT_ONCE).contains(&at_once()));
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report");
        let counts = Counts { passed: 3, ..Counts::failure("one") };
        let report = Report {
            name: "x",
            took: Duration::from_millis(1500),
            used: Duration::from_secs(2),
            counts: counts.clone(),
        };
        write_report(&path, &report).unwrap();
        let read: (Duration, Duration, Counts) =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(read, (report.took, report.used, counts));
    }
}
