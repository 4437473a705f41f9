//! Programs that run in the background, with their output in a log file.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// How long a program that was asked to end may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of a log is quoted in an error.
const LAST_WORDS: u64 = 3000;

/// How long a program lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Life {
    /// It ends with the thread that started it (`PR_SET_PDEATHSIG` goes by thread), so start it from one that stays.
    WithParent,
    /// It stays until it is stopped, by this process or a later one.
    UntilStopped,
}

/// A program in the background. Serialized, it can be found again by a later process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Daemon {
    name: String,
    argv: Vec<String>,
    log: PathBuf,
    life: Life,
    pid: i32,
    /// When it was started, in the kernel's clock ticks: a later program of the same pid is another.
    born: u64,
    /// Only in the process that started it, which has to collect it when it has ended.
    #[serde(skip)]
    child: Option<Child>,
}

impl Daemon {
    /// Starts a program. Its output is added to `NAME.log` in `logs`.
    pub(crate) fn start(name: &str, argv: Vec<String>, logs: &Path, life: Life) -> Result<Self> {
        fs::create_dir_all(logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let log = logs.join(format!("{name}.log"));
        let mut daemon = Self { name: name.to_owned(), argv, log, life, pid: 0, born: 0, child: None };
        daemon.start_again()?;
        Ok(daemon)
    }

    /// Starts it once more, as it was started before.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        let about = || format!("cannot start {}", self.name);
        let log = File::options().create(true).append(true).open(&self.log).with_context(about)?;
        let errors = log.try_clone().with_context(about)?;
        let mut command = match self.life {
            Life::WithParent => Command::new("setpriv"),
            Life::UntilStopped => Command::new("setsid"),
        };
        if self.life == Life::WithParent {
            command.args(["--pdeathsig", "KILL"]);
        }
        let child = command
            .args(&self.argv)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .with_context(about)?;
        self.pid = child.id().cast_signed();
        self.born = born(self.pid).unwrap_or_default();
        self.child = Some(child);
        Ok(())
    }

    /// Whether it runs.
    pub(crate) fn is_running(&mut self) -> bool {
        if let Some(child) = &mut self.child {
            return matches!(child.try_wait(), Ok(None));
        }
        self.pid > 0 && born(self.pid) == Some(self.born)
    }

    /// Fails, with the end of its log, unless it runs.
    pub(crate) fn check(&mut self) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        bail!("{} has ended. The end of {}:\n{}", self.name, self.log.display(), self.last_words());
    }

    /// Asks it to end, ends it when it does not, and returns when it has ended.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.end(Signal::TERM)
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.end(Signal::KILL)
    }

    fn end(&mut self, signal: Signal) -> Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(()) };
        let begun = Instant::now();
        let mut signal = Some(signal);
        while self.is_running() {
            if begun.elapsed() > PATIENCE {
                signal = Some(Signal::KILL);
            }
            if begun.elapsed() > 2 * PATIENCE {
                bail!("{} (process {}) cannot be ended", self.name, self.pid);
            }
            if let Some(signal) = signal.take() {
                // Fails only for a process that has just ended, which is what is wanted.
                let _ = kill_process(pid, signal);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_or_else(
            |error| format!("(unreadable: {error})"),
            |bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned(),
        )
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.life == Life::WithParent
            && let Some(child) = &mut self.child
        {
            // Neither fails but for a program that has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// When a process was started (proc(5), /proc/PID/stat, field 22); `None` when it has ended.
fn born(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(ToOwned::to_owned).collect()
    }

    #[test]
    fn a_daemon_lives_until_it_is_stopped_and_is_found_again() {
        let logs = tempfile::tempdir().unwrap();
        let mut daemon =
            Daemon::start("sleeper", words("sleep 100"), logs.path(), Life::UntilStopped).unwrap();
        let mut found: Daemon = serde_json::from_str(&serde_json::to_string(&daemon).unwrap()).unwrap();
        assert!(daemon.is_running());
        // setsid(1) becomes the program, in the same process.
        assert!(found.is_running());
        daemon.stop().unwrap();
        assert!(!daemon.is_running() && !found.is_running());
        daemon.start_again().unwrap();
        assert!(daemon.is_running() && !found.is_running());
        daemon.kill().unwrap();
    }

    #[test]
    fn what_a_program_said_last_is_in_the_error() {
        let logs = tempfile::tempdir().unwrap();
        let argv = vec!["sh".into(), "-c".into(), "echo no port for me >&2; exit 3".into()];
        let mut daemon = Daemon::start("failing", argv, logs.path(), Life::WithParent).unwrap();
        let error = loop {
            match daemon.check() {
                Ok(()) => thread::sleep(Duration::from_millis(5)),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("failing has ended") && error.contains("no port for me"), "{error}");
    }
}
