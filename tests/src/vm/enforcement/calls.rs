//! Processes that make forbidden and allowed calls, and say what became of them.

use std::{
    fs::File,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use super::super::{CALLS, this};
use crate::{calls, pod::Container};

/// The file that may not be opened.
pub(super) const FORBIDDEN: &str = "/tmp/forbidden";
/// A file that may.
pub(super) const ALLOWED: &str = "/tmp/allowed";

/// The variable with the number of forbidden calls of each process.
const TIMES: &str = "GATEWATCH_FORBIDDEN_CALLS";

/// Forbidden calls of each process. Emulated processors are slow: a real machine makes a million.
pub(super) fn times() -> u64 {
    std::env::var(TIMES).ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

/// What became of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    /// Forbidden, and denied; or its process was killed.
    pub(super) refused: u64,
    /// Forbidden, and not denied.
    pub(super) through: u64,
    /// Allowed, and not denied.
    pub(super) allowed: u64,
    /// Allowed, and denied.
    pub(super) failed: u64,
    /// The error of the last denied call.
    pub(super) error: u64,
}

impl Made {
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            refused: self.refused + other.refused,
            through: self.through + other.through,
            allowed: self.allowed + other.allowed,
            failed: self.failed + other.failed,
            error: self.error.max(other.error),
        }
    }
}

/// Starts a process that makes calls in a container.
pub(super) fn start(container: &Container, words: &[&str]) -> Child {
    let this = this();
    let mut command = container.command(&this, &this.display().to_string());
    command.args([CALLS, "forbidden"]).args(words).stdout(Stdio::piped());
    command.spawn().expect("a process that makes calls")
}

/// Waits for its end.
pub(super) fn finish(child: Child) -> Made {
    let output = child.wait_with_output().expect("its output");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [refused, through, allowed, failed, error] = numbers[..] else {
        panic!("it printed no numbers: {output:?}");
    };
    Made { refused, through, allowed, failed, error }
}

/// What such a process does.
pub(in super::super) fn make(words: &[&str]) {
    let made = match words {
        ["open", times] => open(times.parse().expect("a number"), None),
        ["open-until", stop] => open(u64::MAX, Some(Path::new(stop))),
        ["forks", group, times] => forks(group.parse().expect("a number"), times.parse().expect("a number")),
        other => panic!("no calls of kind {other:?}"),
    };
    println!("{} {} {} {} {}", made.refused, made.through, made.allowed, made.failed, made.error);
}

/// Opens the forbidden file, and after every ten times the allowed one.
fn open(times: u64, stop: Option<&Path>) -> Made {
    let mut made = Made::default();
    for call in 1..=times {
        match File::open(FORBIDDEN) {
            Ok(_) => made.through += 1,
            Err(error) => {
                made.refused += 1;
                made.error = u64::from(error.raw_os_error().unwrap_or(0).unsigned_abs());
            }
        }
        if call % 10 == 0 {
            match File::open(ALLOWED) {
                Ok(_) => made.allowed += 1,
                Err(_) => made.failed += 1,
            }
            if let Some(stop) = stop {
                if stop.exists() {
                    break;
                }
                // An agent that starts meanwhile needs a processor as well.
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    made
}

/// As many processes, one after the other, each of which calls `setgid` and ends.
#[allow(unsafe_code, reason = "the standard library forks only to execute another program")]
fn forks(group: u32, times: u64) -> Made {
    let mut made = Made::default();
    for _ in 0..times {
        // SAFETY: this process has one thread, so the child may do what its parent may.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: no handler is set.
                unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
                calls::setgid(group, 1);
                std::process::exit(0);
            }
            child => assert!(child > 0, "fork"),
        }
        let (_, status) =
            rustix::process::wait(rustix::process::WaitOptions::empty()).expect("a child").expect("its end");
        match (status.terminating_signal(), status.exit_status()) {
            (Some(libc::SIGKILL), _) => made.refused += 1,
            (None, Some(0)) => made.through += 1,
            _ => made.failed += 1,
        }
    }
    made
}
