//! The agent as its users run it: a process with a directory of policies.

use std::{
    fs,
    io::Read as _,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use crate::scrape;

/// How long an agent may take until it counts, on an emulated machine.
const READY_WITHIN: Duration = Duration::from_mins(5);

/// A running agent, with files of its own. Ended when dropped.
pub struct Agent {
    child: Child,
    address: SocketAddr,
    /// Its directory of policies.
    pub policies: PathBuf,
    /// Its file of pods.
    pub pods: PathBuf,
    /// How long it took from its start until it counted.
    pub started_in: Duration,
    log: PathBuf,
    command: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Agent {
    /// Starts an agent with these policies (file name, text) and pods, and waits until it counts.
    pub fn start(policies: &[(&str, &str)], pods: &str) -> Self {
        Self::start_with(policies, pods, &[])
    }

    /// The same with more arguments.
    pub fn start_with(policies: &[(&str, &str)], pods: &str, arguments: &[&str]) -> Self {
        let (folder, directory) = write(policies);
        Self::start_in(folder, directory, pods, &[], arguments)
    }

    /// Starts an agent by a program that becomes it, such as setpriv with its arguments.
    pub fn start_through(through: &[&str], policies: &[(&str, &str)], pods: &str) -> Self {
        let (folder, directory) = write(policies);
        Self::start_in(folder, directory, pods, through, &[])
    }

    /// The same for an agent that may not run policies; with its answer to the probe of readiness once it has read
    /// its policies.
    pub fn start_to_answer(through: &[&str], policies: &[(&str, &str)], pods: &str) -> (Self, (u16, String)) {
        let (folder, directory) = write(policies);
        let (mut agent, begun) = Self::spawn_in(folder, directory, pods, through, &[]);
        let answer = agent.wait_answer(begun, |answer| !answer.1.contains("being loaded"));
        (agent, answer)
    }

    /// Starts an agent with the policies of a directory that stays where it is, and with the usual soft limit of open files,
    /// which many policies exceed.
    pub fn start_on(directory: &Path, pods: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let limited = ["sh", "-c", "ulimit -S -n 1024 && exec \"$@\"", "sh"];
        Self::start_in(folder, directory.to_owned(), pods, &limited, &[])
    }

    fn start_in(
        folder: tempfile::TempDir,
        policies: PathBuf,
        pods: &str,
        through: &[&str],
        arguments: &[&str],
    ) -> Self {
        let (mut agent, begun) = Self::spawn_in(folder, policies, pods, through, arguments);
        agent.wait_ready(begun);
        agent
    }

    fn spawn_in(
        folder: tempfile::TempDir,
        policies: PathBuf,
        pods: &str,
        through: &[&str],
        arguments: &[&str],
    ) -> (Self, Instant) {
        let pods_file = folder.path().join("pods.yaml");
        fs::write(&pods_file, pods).expect("the pods are written");
        let log = folder.path().join("log");
        // Port 0 would not tell us which one it got.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        // Whatever ran before: these counts begin at 0.
        cleanup();
        let own = [
            "gatewatch-agent".to_owned(),
            "--policy-dir".to_owned(),
            policies.display().to_string(),
            "--pods".to_owned(),
            pods_file.display().to_string(),
            "--metrics-address".to_owned(),
            free.to_string(),
        ];
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let command = [words(through), own.to_vec(), words(arguments)].concat();
        let begun = Instant::now();
        let child = spawn(&command, &log);
        let agent = Self {
            child,
            address: free,
            policies,
            pods: pods_file,
            started_in: Duration::ZERO,
            log,
            command,
            _folder: folder,
        };
        (agent, begun)
    }

    /// Kills the agent: it has no time for anything.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("an exit status");
    }

    /// Asks the agent to end, and waits until it has.
    pub fn end(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().expect("an exit status");
    }

    /// Starts the agent again after its end, as it was started first.
    pub fn again(&mut self) {
        let begun = Instant::now();
        self.launch();
        self.wait_ready(begun);
    }

    /// Starts the agent again after its end, and doesn't wait for anything.
    pub fn launch(&mut self) {
        self.child = spawn(&self.command, &self.log);
    }

    /// Sends the agent a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        if let Some(id) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(id, signal);
        }
    }

    fn wait_ready(&mut self, begun: Instant) {
        self.wait_answer(begun, |answer| answer.0 == 200);
        self.started_in = begun.elapsed();
    }

    /// Waits for an answer to the probe of readiness.
    fn wait_answer(&mut self, begun: Instant, wanted: impl Fn(&(u16, String)) -> bool) -> (u16, String) {
        loop {
            if let Some(status) = self.child.try_wait().expect("the agent's state") {
                panic!("the agent ended ({status}):\n{}", self.log());
            }
            if let Ok(answer) = scrape::get(self.address, "/readyz")
                && wanted(&answer)
            {
                return answer;
            }
            assert!(begun.elapsed() < READY_WITHIN, "the agent isn't ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has written.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All metrics.
    pub fn metrics(&self) -> String {
        match scrape::get(self.address, "/metrics") {
            Ok((200, body)) => body,
            other => panic!("no metrics: {other:?}\n{}", self.log()),
        }
    }

    /// The sum of the event counters that have these labels.
    pub fn events(&self, labels: &[(&str, &str)]) -> u64 {
        sum(&self.metrics(), scrape::EVENTS, labels)
    }

    /// The sum of a metric's samples that have these labels.
    pub fn sum(&self, metric: &str, labels: &[(&str, &str)]) -> u64 {
        sum(&self.metrics(), metric, labels)
    }

    /// Waits until a condition on the metrics holds; false if it doesn't in time.
    pub fn wait(&self, condition: impl Fn(&str) -> bool) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_mins(1) {
            if condition(&self.metrics()) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        false
    }
}

/// The sum of a metric's samples that have these labels.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters of tests are small integers"
)]
pub fn sum(text: &str, metric: &str, labels: &[(&str, &str)]) -> u64 {
    scrape::samples(text, metric)
        .into_iter()
        .filter(|(of, _)| labels.iter().all(|(name, value)| of.get(*name).is_some_and(|v| v == value)))
        .map(|(_, value)| value as u64)
        .sum()
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        let _ = self.child.wait();
        cleanup();
    }
}

/// A new folder, and one of policies in it.
fn write(policies: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let directory = folder.path().join("policies");
    fs::create_dir(&directory).expect("a folder for policies");
    for (name, text) in policies {
        fs::write(directory.join(name), text).expect("a policy is written");
    }
    (folder, directory)
}

fn spawn(command: &[String], log: &Path) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(log).expect("a log");
    Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("gatewatch-agent starts")
}

/// Removes everything that agents have in the kernel.
pub fn cleanup() {
    let output = Command::new("gatewatch-agent").arg("--cleanup").output().expect("gatewatch-agent starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs an agent that is expected to exit. Returns its exit status and what it wrote.
pub fn fails(arguments: &[&str]) -> (ExitStatus, String) {
    let mut child = Command::new("gatewatch-agent")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gatewatch-agent starts");
    let mut text = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut text).expect("text");
    (child.wait().expect("an exit status"), text)
}
