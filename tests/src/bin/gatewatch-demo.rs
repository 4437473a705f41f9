//! The demo: real programs do what the shipped policies watch, and what was counted is printed and checked.
//!
//! Run by `cargo xtask demo`, in a VM or on this machine.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a demo prints, and ends where it cannot continue"
)]

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use gatewatch_tests::{
    modules,
    pod::{self, Container},
    scrape::{self, EVENTS},
};

const TIEFIGHTER: (&str, &str) = ("6d6c3b1e-5a0e-4d39-9a7e-6f5a4d3c2b1a", "tiefighter");
const XWING: (&str, &str) = ("0f9e8d7c-6b5a-4938-a7b6-c5d4e3f2a1b0", "xwing");
/// An address outside every cluster: TEST-NET-3 of RFC 5737, here an address of our own loopback interface.
const OUTSIDE: &str = "203.0.113.80";

/// What has to come out: binary, hook, pod, policy. Namespace and workload follow from the pod.
const EXPECTED: &[(&str, &str, &str, &str)] = &[
    ("/usr/bin/sudo", "kprobe:__x64_sys_execve", "", "sudo-invocations"),
    ("/usr/bin/setuid", "kprobe:__sys_setuid", "", "privileges-raise"),
    ("/usr/bin/unshare", "kprobe:create_user_ns", "", "privileges-raise"),
    ("/usr/bin/touch", "kprobe:security_file_permission", "tiefighter", "application-file-system-access"),
    ("/usr/bin/cat", "kprobe:security_file_permission", "tiefighter", "application-file-system-access"),
    ("/usr/bin/curl", "kprobe:tcp_connect", "tiefighter", "external-http-call"),
    ("/usr/bin/touch", "kprobe:security_path_mknod", "tiefighter", "application-file-system-access"),
    ("/usr/bin/kmod", "kprobe:security_kernel_read_file", "", "monitor-kernel-modules"),
    ("/usr/bin/kmod", "kprobe:do_init_module", "", "monitor-kernel-modules"),
];

/// Why a value isn't 1, by hook and binary.
const REASONS: &[(&str, &str, &str)] = &[
    (
        "kprobe:security_file_permission",
        "/usr/bin/touch",
        "touch writes nothing; these are its reads of the C library under /usr/lib when it starts (that it made a file \
         is the line with security_path_mknod)",
    ),
    (
        "kprobe:security_file_permission",
        "/usr/bin/cat",
        "its reads of the C library under /usr/lib when it starts, one read of /etc/shadow, and one more that finds \
         the file's end",
    ),
    (
        "kprobe:__x64_sys_execve",
        "/usr/bin/sudo",
        "the command itself, and PAM's helper unix_chkpwd, which sudo runs before to see whether the account is valid",
    ),
    (
        "kprobe:security_file_permission",
        "/usr/bin/curl",
        "its reads of its libraries under /usr/lib and files in /etc",
    ),
    (
        "kprobe:security_file_permission",
        "gatewatch-demo",
        "what plays the container runtime here: the kernel reads the headers of a program and its loader for who runs it",
    ),
    (
        "kprobe:__sys_setresgid",
        "/usr/bin/sudo",
        "sudo changes between the caller's groups and root's while it checks",
    ),
    (
        "kprobe:security_capset",
        "/usr/bin/setpriv",
        "setpriv writes its capabilities before and after the change",
    ),
    ("kprobe:__sys_setuid", "/usr/bin/sudo", "sudo takes root's id and gives it back more than once"),
    (
        "kprobe:__sys_setresuid",
        "/usr/bin/sudo",
        "sudo changes between the caller's id and root's while it checks",
    ),
];

/// Shows what Gatewatch counts.
#[derive(Debug, Parser)]
struct Arguments {
    /// The shipped policies
    #[arg(long, default_value = "/policies")]
    policies: PathBuf,
    /// Where the agent serves its metrics
    #[arg(long, default_value = "0.0.0.0:2112")]
    metrics_address: SocketAddr,
    /// Seconds to wait, once the agent is ready, before anything happens
    #[arg(long, default_value_t = 0)]
    before: u64,
    /// Seconds for which the agent continues to serve at the end
    #[arg(long, default_value_t = 0)]
    after: u64,
}

fn main() -> ExitCode {
    Container::enter();
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The agent, ended with the demo.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(id) = rustix::process::Pid::from_raw(self.0.id().cast_signed()) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let pods = folder.path().join("pods.yaml");
    fs::write(&pods, pods_file())?;
    println!("$ gatewatch-agent --policy-dir {} --pods pods.yaml", arguments.policies.display());
    let mut agent = Running(
        Command::new("gatewatch-agent")
            .arg("--policy-dir")
            .arg(&arguments.policies)
            .arg("--pods")
            .arg(&pods)
            .arg("--metrics-address")
            .arg(arguments.metrics_address.to_string())
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start gatewatch-agent")?,
    );
    let local = SocketAddr::new([127, 0, 0, 1].into(), arguments.metrics_address.port());
    wait_ready(&mut agent.0, local)?;
    std::thread::sleep(Duration::from_secs(arguments.before));

    println!("\non the host:");
    shell("sudo pwd")?;
    shell("setuid 1 ls /")?;
    shell("setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --map-root-user true")?;
    let module = modules::unloaded().context("there is no module of this kernel to load in /lib/modules")?;
    shell(&format!("insmod {}", module.file.display()))?;

    println!("\nin the pod tiefighter, then in xwing, which no policy selects:");
    shell(&format!("ip address add {OUTSIDE}/32 dev lo"))?;
    let this = std::env::current_exe()?;
    for (uid, name) in [TIEFIGHTER, XWING] {
        let container = Container::create(uid, &container_id(name)).context("cannot make a cgroup")?;
        for line in [
            "touch /etc/some_file.txt",
            "cat /etc/shadow",
            &format!("curl --silent --max-time 5 http://{OUTSIDE}/"),
        ] {
            println!("{name}$ {line}");
            let argv: Vec<&str> = line.split(' ').collect();
            let status = container
                .command(&this, argv[0])
                .args(&argv[1..])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .status()?;
            // curl gets no answer and fails, which does not matter here.
            if !status.success() && argv[0] != "curl" {
                bail!("`{line}` failed in {name}: {status}");
            }
        }
        let _ = fs::remove_file("/etc/some_file.txt");
        let _ = container.remove();
    }

    println!("\n$ curl localhost:{}/metrics | grep {EVENTS}", local.port());
    let (_, text) = scrape::get(local, "/metrics").context("cannot scrape")?;
    for line in text.lines().filter(|line| line.starts_with(EVENTS)) {
        println!("{line}");
    }
    let checked = check(&text);
    std::thread::sleep(Duration::from_secs(arguments.after));
    checked
}

fn pods_file() -> String {
    let labels = |org: &'static str, class: &'static str| [("org", org), ("class", class)];
    pod::list(&[
        pod::manifest(
            "test",
            TIEFIGHTER.1,
            TIEFIGHTER.0,
            &container_id(TIEFIGHTER.1),
            &labels("empire", "tiefighter"),
        ),
        pod::manifest("test", XWING.1, XWING.0, &container_id(XWING.1), &labels("alliance", "xwing")),
    ])
}

/// 64 hexadecimal digits, as runtimes name containers.
fn container_id(name: &str) -> String {
    let digits: Vec<String> = name.bytes().cycle().take(32).map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

fn wait_ready(agent: &mut Child, address: SocketAddr) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_mins(3) {
        if let Some(status) = agent.try_wait()? {
            bail!("the agent ended: {status}");
        }
        if matches!(scrape::get(address, "/readyz"), Ok((200, _))) {
            println!("ready after {:.1} s", begun.elapsed().as_secs_f32());
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("the agent isn't ready after three minutes")
}

fn shell(line: &str) -> Result<()> {
    println!("host$ {line}");
    let status =
        Command::new("sh").arg("-c").arg(line).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Whether all expected lines are there; says of each whose value isn't 1 why.
fn check(text: &str) -> Result<()> {
    let samples = scrape::samples(text, EVENTS);
    let mut missing = Vec::new();
    let mut why = BTreeMap::new();
    for (binary, hook, pod, policy) in EXPECTED {
        let (namespace, workload) = if pod.is_empty() { ("", "") } else { ("test", *pod) };
        let wanted: scrape::Labels = [
            ("binary", *binary),
            ("hook", *hook),
            ("namespace", namespace),
            ("pod", *pod),
            ("policy", *policy),
            ("workload", workload),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        match samples.iter().find(|(labels, _)| *labels == wanted) {
            Some((_, value)) if *value >= 1.0 => {}
            _ => missing.push(format!("{policy}: {binary} at {hook}")),
        }
    }
    for (labels, value) in samples.iter().filter(|(_, value)| (*value - 1.0).abs() > f64::EPSILON) {
        let reason = REASONS
            .iter()
            .find(|(hook, binary, _)| labels["hook"] == *hook && labels["binary"].ends_with(binary))
            .map_or("the program made that many calls", |(_, _, reason)| reason);
        why.insert((labels["binary"].clone(), labels["hook"].clone()), (*value, reason));
    }
    if !why.is_empty() {
        println!("\nvalues other than 1 are what the kernel saw:");
        for ((binary, hook), (value, reason)) in why {
            println!("  {value} × {binary} at {hook}: {reason}");
        }
    }
    if let Some((labels, _)) = samples.iter().find(|(labels, _)| labels["pod"] == XWING.1) {
        bail!("xwing was counted, which no policy selects: {labels:?}");
    }
    if !missing.is_empty() {
        bail!("lines are missing: {}", missing.join("; "));
    }
    println!("\nevery expected line is there.");
    Ok(())
}
