//! Calls that random policies watch, and the processes that make them.

use std::{
    fs::File,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::random::Random;
use crate::{
    calls,
    pod::Container,
    vm::{CALLS, this},
};

/// How many different values the calls of one kind have.
pub(super) const VALUES: u32 = 6;
/// A file for each value: read by [`Call::Read`].
pub(super) const FILES: &str = "/tmp/endurance";
/// Ports from here on, below those that the kernel gives to others; no program listens.
pub(super) const PORT: u16 = 4_000;

/// A call, of a kind that policies can watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// `setuid(0)`: what the policy that always is there watches.
    Uid,
    /// `setgid` to a group.
    Gid(u32),
    /// `chdir` to one of [`directory`].
    Chdir(u32),
    /// A read of one of the files in [`FILES`].
    Read(u32),
    /// A connection to [`PORT`] or one of the next.
    Connect(u32),
}

/// What [`Call::Chdir`] goes to. Those with odd numbers don't exist.
pub(super) fn directory(number: u32) -> String {
    ["/", "/no/a", "/usr", "/no/b", "/tmp", "/no/c"][number as usize].to_owned()
}

impl Call {
    pub(super) fn random(random: &mut Random) -> Self {
        let value = random.below(VALUES);
        match random.below(5) {
            0 => Self::Uid,
            1 => Self::Gid(value),
            2 => Self::Chdir(value),
            3 => Self::Read(value),
            _ => Self::Connect(value),
        }
    }

    fn word(self, times: u64) -> String {
        match self {
            Self::Uid => format!("uid:0:{times}"),
            Self::Gid(value) => format!("gid:{value}:{times}"),
            Self::Chdir(value) => format!("chdir:{value}:{times}"),
            Self::Read(value) => format!("read:{value}:{times}"),
            Self::Connect(value) => format!("connect:{value}:{times}"),
        }
    }
}

/// Makes the calls that the words of [`start`] name. This is the process that was started.
pub(in crate::vm) fn make(words: &[&str]) {
    for word in words {
        let mut parts = word.split(':');
        let kind = parts.next().expect("a kind");
        let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok()).expect("a number");
        let (value, times) = (number(), number());
        let file = Path::new(FILES).join(value.to_string());
        let file = (kind == "read").then(|| File::open(file).expect("a file"));
        for _ in 0..times {
            match kind {
                "uid" => calls::setuid_root(1),
                "gid" => calls::setgid(value, 1),
                "chdir" => drop(calls::chdir(Path::new(&directory(value)))),
                "read" => calls::pread(file.as_ref().expect("a file"), 1),
                "connect" => {
                    calls::connect(Ipv4Addr::LOCALHOST.into(), PORT + u16::try_from(value).expect("small"));
                }
                other => panic!("no calls of kind {other}"),
            }
        }
    }
}

/// Calls `setuid(0)` now and then until there is a file; prints how often. This is the process that was started.
pub(in crate::vm) fn make_paced(until: &Path) {
    let mut made = 0_u64;
    while !until.exists() {
        calls::setuid_root(20);
        made += 20;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    println!("{made}");
}

/// Starts a process, in a container or on the host, that makes these calls.
pub(super) fn start(container: Option<&Container>, calls: &[(Call, u64)]) -> Child {
    let words: Vec<String> = calls.iter().map(|(call, times)| call.word(*times)).collect();
    command(container).args([CALLS, "mix"]).args(words).spawn().expect("a process that makes calls")
}

fn command(container: Option<&Container>) -> Command {
    let this = this();
    match container {
        Some(container) => container.command(&this, &this.display().to_string()),
        None => Command::new(this),
    }
}

/// Processes that call `setuid(0)` all the time: one on the host, one in a pod that stays.
pub(super) struct Background {
    stop: PathBuf,
    host: Child,
    pod: Child,
}

impl Background {
    pub(super) fn start(folder: &Path, pod: &Container) -> Self {
        let stop = folder.join("stop");
        let _ = std::fs::remove_file(&stop);
        let start = |container| {
            let mut command = command(container);
            command.args([CALLS, "paced"]).arg(&stop).stdout(Stdio::piped());
            command.spawn().expect("a process that makes calls")
        };
        Self { host: start(None), pod: start(Some(pod)), stop }
    }

    /// Ends them; gives how many calls were made on the host, and in the pod.
    pub(super) fn finish(self) -> (u64, u64) {
        std::fs::write(&self.stop, "").expect("written");
        let made = |process: Child| {
            let output = process.wait_with_output().expect("its output");
            let number = String::from_utf8_lossy(&output.stdout).trim().parse::<u64>();
            number.unwrap_or_else(|_| panic!("a caller printed no number: {output:?}"))
        };
        (made(self.host), made(self.pod))
    }
}
