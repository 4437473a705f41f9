//! The suites that other programs run: rustfmt, clippy, cargo's tests, and test programs in VMs.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{Context, counts::Counts};
use crate::{
    bench, build, gate,
    image::Kernel,
    paths, process,
    progress::say,
    vm::{Stream, Vm, pass_through},
};

/// The program of the crate `gatewatch-tests` that runs in VMs.
const VM_TESTS: &str = "gatewatch-vm-tests";

pub(super) fn format(_: &Context) -> Result<Counts> {
    let workspace = passes(cargo("fmt").args(["--all", "--check"]))?;
    let bpf_objects = passes(cargo("fmt").arg("--check").current_dir(paths::root().join("ebpf")))?;
    Ok(Counts::one("the workspace: `cargo fmt --all` formats it", workspace)
        .and(Counts::one("ebpf/: `cargo fmt` in it formats it", bpf_objects)))
}

pub(super) fn lint(context: &Context) -> Result<Counts> {
    const STRICT: [&str; 3] = ["--", "-D", "warnings"];
    let mut workspace = cargo("clippy");
    workspace.args(["--workspace", "--all-targets"]).args(STRICT);
    context.bpf_objects()?.announce(&mut workspace);
    let workspace = passes(&mut workspace)?;
    let bpf_objects = passes(build::bpf_cargo(&context.tools, "clippy")?.arg("--release").args(STRICT))?;
    Ok(Counts::one("clippy on the workspace", workspace).and(Counts::one("clippy on ebpf/", bpf_objects)))
}

pub(super) fn unit(context: &Context) -> Result<Counts> {
    let mut command = cargo("test");
    command.args(["--workspace", "--no-fail-fast"]);
    if !context.passed_on.is_empty() {
        command.arg("--").args(&context.passed_on);
    }
    context.bpf_objects()?.announce(&mut command);
    counted(&mut command)
}

/// Fuzzing, for ten seconds a target unless `GATEWATCH_FUZZ_SECONDS` says otherwise. (In `unit` it runs for two.)
pub(super) fn fuzz(context: &Context) -> Result<Counts> {
    let mut command = cargo("test");
    // With `--package`, Cargo would select other features of the dependencies, and build them once more.
    command.args(["--workspace", "--test", "fuzz", "--", "--nocapture", "--test-threads=2"]);
    command.args(&context.passed_on);
    if std::env::var_os("GATEWATCH_FUZZ_SECONDS").is_none() {
        command.env("GATEWATCH_FUZZ_SECONDS", "10");
    }
    counted(&mut command)
}

/// Runs test programs, passes on what they print, and counts what they say.
fn counted(command: &mut Command) -> Result<Counts> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run cargo test")?;
    let mut output = Vec::new();
    let mut reader = BufReader::new(child.stdout.take().context("cargo test has no output")?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).context("cannot read the output of cargo test")? > 0 {
        io::stdout().lock().write_all(&line)?;
        output.append(&mut line);
    }
    let status = child.wait().context("cannot wait for cargo test")?;
    Ok(Counts::of_test_programs(&String::from_utf8_lossy(&output), status.success()))
}

/// The gate before a real API server.
pub(super) fn gate(context: &Context) -> Result<Counts> {
    let results = gate::checks::run(&context.tools.cache, &context.passed_on)?;
    Ok(results.iter().fold(Counts::default(), |counts, (name, ok)| counts.and(Counts::one(name, *ok))))
}

/// The tests that take long.
const LOAD: &str = "load::";
/// The attacks of pods.
const HOSTILE: &str = "hostile::";
/// The one that runs for a given time.
const ENDURANCE: &str = "endurance::";
/// On two busy cores the tests of one kernel have taken 25 minutes.
const VM_LIMIT: Duration = Duration::from_hours(1);

/// Which of the tests a kernel's suite runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of them.
    Complete,
    /// Those that the kernel's version matters to (`Kernels::Every` in `tests/src/vm.rs`), and all that arguments ask for.
    VersionDependent,
}

/// The argument of the test program for [`Extent::VersionDependent`].
const VERSION_DEPENDENT: &str = "--version-dependent";

/// The quick tests, on one kernel.
pub(super) fn vm(context: &Context, kernel: Kernel, extent: Extent) -> Result<Counts> {
    let mut arguments = vec!["--skip", LOAD, "--skip", ENDURANCE];
    if extent == Extent::VersionDependent && context.passed_on.is_empty() {
        arguments.push(VERSION_DEPENDENT);
    }
    in_vm(context, kernel, &arguments, VM_LIMIT)
}

/// Those of the quick ones in which a pod attacks the agent or other pods.
pub(super) fn hostile(context: &Context, kernel: Kernel) -> Result<Counts> {
    in_vm(context, kernel, &[HOSTILE], VM_LIMIT)
}

/// Those of them that take long.
pub(super) fn load(context: &Context, kernel: Kernel) -> Result<Counts> {
    in_vm(context, kernel, &[LOAD], VM_LIMIT)
}

/// What an event costs, counted in instructions, and held against its budgets.
pub(super) fn cost(context: &Context, kernel: Kernel) -> Result<Counts> {
    let built = context.built()?;
    built.program(bench::PROGRAM)?;
    let machine = Vm { icount: true, cpus: 1, timeout: VM_LIMIT, ..Vm::new(kernel) };
    let ended = machine.run(&[bench::PROGRAM, "event"], built, &context.tools.cache, &mut pass_through)?;
    if let Some(failure) = &ended.failure {
        println!("error: {failure}");
    }
    Ok(Counts::one("the cost of an event is within its budget", ended.status == 0))
}

/// How many minutes everything is done at random: half an hour, unless `GATEWATCH_ENDURANCE_MINUTES` says otherwise.
pub(super) fn endurance_minutes() -> Result<u64> {
    match std::env::var("GATEWATCH_ENDURANCE_MINUTES") {
        Ok(minutes) => {
            minutes.parse().context("invalid GATEWATCH_ENDURANCE_MINUTES: expected a number of minutes")
        }
        Err(_) => Ok(30),
    }
}

/// Everything at random.
pub(super) fn endurance(context: &Context, kernel: Kernel) -> Result<Counts> {
    let minutes = endurance_minutes()?;
    // Before and after it there are things to wait for, and the last round is brought to its end.
    let limit = VM_LIMIT + Duration::from_mins(minutes);
    in_vm(context, kernel, &[ENDURANCE, &format!("--minutes={minutes}")], limit)
}

/// How often a VM's tests are continued after an accident of the emulator's.
const ACCIDENTS: usize = 3;

fn in_vm(context: &Context, kernel: Kernel, arguments: &[&str], timeout: Duration) -> Result<Counts> {
    let built = context.built()?;
    built.program(VM_TESTS)?;
    let machine = Vm { timeout, ..Vm::new(kernel) };
    let (mut before, mut first, mut accidents) = (Counts::default(), None, 0);
    loop {
        let mut argv = vec![VM_TESTS.to_owned()];
        argv.extend(arguments.iter().map(ToString::to_string));
        argv.extend(context.passed_on.iter().cloned());
        argv.extend(first.take().map(|name| format!("--first={name}")));
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let mut output = Vec::new();
        let ended = machine.run(&argv, built, &context.tools.cache, &mut |stream, bytes| {
            if stream == Stream::Stdout {
                output.extend_from_slice(bytes);
            }
            pass_through(stream, bytes)
        })?;
        let output = String::from_utf8_lossy(&output);
        let Some(failure) = &ended.failure else {
            return Ok(before.and(Counts::of_test_programs(&output, ended.status == 0)));
        };
        println!("error: {failure}");
        let (ended_before, unfinished) = Counts::of_broken_off(&output);
        if !failure.is_stale_breakpoint() || accidents >= ACCIDENTS || unfinished.is_none() {
            return Ok(before.and(Counts::of_test_programs(&output, false)));
        }
        (first, accidents) = (unfinished, accidents + 1);
        before = before.and(ended_before);
        say("this is a fault of QEMU (see xtask/src/setup/qemu.rs): continuing with the interrupted test");
    }
}

fn cargo(sub_command: &str) -> Command {
    let mut command = Command::new(paths::cargo());
    command.current_dir(paths::root()).arg(sub_command);
    command
}

/// Runs a program with its output shown. The answer is whether it succeeded.
pub(super) fn passes(command: &mut Command) -> Result<bool> {
    let program = command.get_program().display().to_string();
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        println!("{program} {}", process::ending(status));
    }
    Ok(status.success())
}
