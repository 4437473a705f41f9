//! What a program can do that doesn't want to be counted, or to spoil what others read.

pub(super) mod nested;
pub(super) mod pods;

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write as _,
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    process::{chdir, fchdir},
};

use super::{CALLS, counts_setuid, make, this};
use crate::{
    agent::sum,
    scrape::{self, EVENTS},
};

/// A copy of this program at a path, run there: makes ten calls.
fn run_as(path: &Path) {
    fs::copy(this(), path).expect("a copy of this program");
    let status = Command::new(path).args([CALLS, "setuid", "10"]).status();
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "{}: {status:?}", path.display());
    fs::remove_file(path).expect("removed");
}

/// Names with quotes, newlines, escapes and bytes that are no text: one series each, on one line, and no other.
pub(super) fn names() {
    let agent = counts_setuid();
    let folder = tempfile::tempdir().expect("a folder");
    let names: [&[u8]; 6] = [
        b"plain",
        b"quote\"} 9 #",
        b"new\nline\ntetragon_policy_events_total{binary=\"fake\"} 1000",
        b"back\\slash\\n",
        b"\xff\xfe\x80",
        b"\x1b[31mred\x07",
    ];
    for name in names {
        run_as(&folder.path().join(OsStr::from_bytes(name)));
    }
    let text = agent.metrics();
    let found = scrape::samples(&text, EVENTS);
    assert_eq!(found.len(), names.len(), "{text}");
    assert!(found.iter().all(|(_, value)| (*value - 10.0).abs() < 0.5), "{text}");
    let shown = folder.path().display().to_string();
    for name in ["plain", "quote\"} 9 #", "back\\slash\\n", r"\xff\xfe\x80", r"\x1b[31mred\x07"] {
        assert_eq!(sum(&text, EVENTS, &[("binary", &format!("{shown}/{name}"))]), 10, "{name}:\n{text}");
    }
    // Each line is a comment or a sample of ours.
    let ours =
        ["gatewatch_", "tetragon_policy_events_total{binary=\"/", "tetragon_tracingpolicy_loaded{state=\""];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(ours.iter().any(|start| line.starts_with(start)), "{line}");
    }
}

/// Programs in folders so deep that their path is longer than any buffer: counted, under what fits.
pub(super) fn long_paths() {
    let agent = counts_setuid();
    let folder = tempfile::tempdir().expect("a folder");
    let part = "d".repeat(250);
    let mut deep = PathBuf::from(folder.path());
    // Paths of 4,096 bytes are the most that a system call takes; by steps a process gets deeper.
    for _ in 0..15 {
        deep.push(&part);
    }
    fs::create_dir_all(&deep).expect("folders");
    run_as(&deep.join("program"));
    let program = this();
    let back = File::open(".").expect("this folder");
    chdir(&deep).expect("a folder");
    for _ in 0..10 {
        fs::create_dir(&part).expect("a folder");
        chdir(part.as_str()).expect("a folder");
    }
    fs::copy(program, "x").expect("a copy of this program");
    let status = Command::new("./x").args([CALLS, "setuid", "10"]).status();
    fchdir(&back).expect("back");
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "{status:?}");
    let text = agent.metrics();
    assert_eq!(sum(&text, EVENTS, &[("policy", "uid")]), 20, "{text}");
}

/// A program without a file: from memory, and one whose file is deleted while it runs.
pub(super) fn without_a_file() {
    let agent = counts_setuid();
    let memory = memfd_create("hidden", MemfdFlags::empty()).expect("a file in memory");
    let mut file = File::from(memory);
    file.write_all(&fs::read(this()).expect("this program")).expect("written");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let status = Command::new(&path).arg0("hidden").args([CALLS, "setuid", "10"]).status();
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "{status:?}");

    let gone = Path::new("/tmp/soon-gone");
    let stop = Path::new("/tmp/soon-gone.stop");
    fs::copy(this(), gone).expect("a copy of this program");
    let mut child = Command::new(gone);
    child.args([CALLS, "setuid-until"]).arg(stop).stdout(Stdio::piped());
    let child = child.spawn().expect("it runs");
    fs::remove_file(gone).expect("removed");
    // It continues after its file was deleted.
    std::thread::sleep(std::time::Duration::from_secs(1));
    fs::write(stop, "").expect("written");
    let output = child.wait_with_output().expect("its output");
    fs::remove_file(stop).expect("removed");
    let made: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number of calls");

    let text = agent.metrics();
    assert_eq!(sum(&text, EVENTS, &[("binary", "/tmp/soon-gone")]), made, "{text}");
    assert_eq!(sum(&text, EVENTS, &[("policy", "uid")]), made + 10, "{text}");
}

/// Processes by the thousand, each of which makes a call and ends: all are counted, and the BPF programs keep nothing of
/// them.
pub(super) fn forks() {
    const PROCESSES: usize = 3_000;
    let agent = counts_setuid();
    let before = sum(&agent.metrics(), "gatewatch_map_entries", &[("map", "processes")]);
    make("fork-setuid", &PROCESSES.to_string());
    let text = agent.metrics();
    assert_eq!(sum(&text, EVENTS, &[("policy", "uid")]), PROCESSES as u64, "{text}");
    let gone = |text: &str| sum(text, "gatewatch_map_entries", &[("map", "processes")]) <= before + 8;
    assert!(agent.wait(gone), "{before} processes before\n{}", agent.metrics());
}

/// Cgroups by the thousand that come and go, with names as long as they may be: nothing stays of them, and what was
/// counted meanwhile is exact.
pub(super) fn cgroups() {
    const CGROUPS: u32 = 2_000;
    let agent = counts_setuid();
    let before = sum(&agent.metrics(), "gatewatch_map_entries", &[("map", "cgroups")]);
    let parent = Path::new("/sys/fs/cgroup/hostile");
    fs::create_dir(parent).expect("a cgroup");
    for number in 0..CGROUPS {
        let cgroup = parent.join(format!("{number:0>200}\\\"}} 9"));
        fs::create_dir(&cgroup).expect("a cgroup");
        fs::remove_dir(&cgroup).expect("removed");
        if number % 10 == 0 {
            crate::calls::setuid_root(1);
        }
    }
    fs::remove_dir(parent).expect("removed");
    let text = agent.metrics();
    assert_eq!(sum(&text, EVENTS, &[("policy", "uid")]), u64::from(CGROUPS / 10), "{text}");
    let gone = |text: &str| sum(text, "gatewatch_map_entries", &[("map", "cgroups")]) <= before + 2;
    assert!(agent.wait(gone), "{before} cgroups before\n{}", agent.metrics());
    let log = agent.log();
    assert!(!log.contains("ERROR"), "{log}");
}
