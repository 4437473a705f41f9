//! `cargo xtask bench lint`: what linting many policies and many manifests takes, on this machine, on one core.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build::{self, Profile},
    process,
    progress::say,
};

/// What is linted: policies and manifests, each as many as the budget names, and a tenth of that.
const POLICIES: usize = 1000;
const MANIFESTS: usize = 10_000;
/// The budget for each, on one core.
const BUDGET: Duration = Duration::from_secs(1);
/// By which runs differ: two of the ticks in which it is measured.
const NOISE: Duration = Duration::from_millis(20);
const TOGETHER: &str = "both together";
/// How often each is run; the fastest counts, since everything else that runs here only adds.
const RUNS: usize = 5;
/// Ticks of `/proc/PID/stat` in a second, which the kernel has fixed for user space (`USER_HZ`).
const TICKS: u32 = 100;

/// What one run took.
#[derive(Clone, Copy, Debug)]
struct Cost {
    elapsed: Duration,
    processor: Duration,
    /// KiB at the most.
    memory: u64,
}

pub(super) fn run(json: bool) -> Result<ExitCode> {
    let program = build::build_program("gatewatch", Profile::Release)?;
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let sets = [
        ("policies", policies(folder.path(), POLICIES / 10)?, POLICIES / 10),
        ("policies", policies(folder.path(), POLICIES)?, POLICIES),
        ("manifests", manifests(folder.path(), MANIFESTS / 10)?, MANIFESTS / 10),
        ("manifests", manifests(folder.path(), MANIFESTS)?, MANIFESTS),
    ];
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).context("cannot make a folder")?;
    let mut over = false;
    if !json {
        println!(
            "{:<18} {:>9} {:>9} {:>9} {:>9} {:>11}",
            "", "seconds", "CPU", "× nothing", "budget", "memory"
        );
    }
    let mut nothing = None;
    let mut show = |name: &str, cost: Cost| {
        let (elapsed, processor) = (cost.elapsed.as_secs_f64(), cost.processor.as_secs_f64());
        let ratio = processor / *nothing.get_or_insert(processor.max(1.0 / f64::from(TICKS)));
        // The budget is for each of them alone.
        let budget = (name != TOGETHER).then_some(BUDGET);
        over |= budget.is_some_and(|budget| cost.processor > budget + NOISE);
        let budget = budget.map(|budget| budget.as_secs());
        if json {
            println!(
                "{}",
                serde_json::json!({
                    "bench": "lint", "what": name, "seconds": elapsed, "processor": processor, "ratio": ratio,
                    "budget": budget, "memory_kib": cost.memory,
                })
            );
        } else {
            let budget = budget.map_or_else(String::new, |seconds| format!("{seconds} s"));
            println!(
                "{name:<18} {elapsed:>9.2} {processor:>9.2} {ratio:>9.1} {budget:>9} {:>7} MiB",
                cost.memory >> 10
            );
        }
    };
    say("linting nothing");
    show("nothing", measure(&program, &[&empty])?);
    for (what, path, count) in &sets {
        say(&format!("linting {count} {what}"));
        show(&format!("{count} {what}"), measure(&program, &[path])?);
    }
    say("linting all of them");
    // One policy file and one manifest file of every object, as helm writes them.
    show(TOGETHER, measure(&program, &[&sets[1].1, &sets[3].1])?);
    if over {
        say(&format!("over the budget of {} s", BUDGET.as_secs()));
    }
    Ok(if over { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The cheapest of some runs.
fn measure(program: &Path, inputs: &[&Path]) -> Result<Cost> {
    let mut best: Option<Cost> = None;
    for _ in 0..RUNS {
        let cost = once(program, inputs)?;
        if best.is_none_or(|other| cost.processor < other.processor) {
            best = Some(cost);
        }
    }
    best.context("nothing was run")
}

fn once(program: &Path, inputs: &[&Path]) -> Result<Cost> {
    let mut command = Command::new(program);
    command.args(["lint", "--format", "json"]).args(inputs);
    // Kept, so that it can be seen that something was found.
    let output = tempfile::tempfile().context("cannot make a file")?;
    command.stdin(Stdio::null()).stdout(output).stderr(Stdio::inherit());
    let begun = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
    let mut seen = (Duration::ZERO, 0);
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait for gatewatch")? {
            break status;
        }
        seen = usage(child.id()).unwrap_or(seen);
        std::thread::sleep(Duration::from_millis(2));
    };
    if !matches!(status.code(), Some(0 | 1)) {
        bail!("gatewatch {}", process::ending(status));
    }
    Ok(Cost { elapsed: begun.elapsed(), processor: seen.0, memory: seen.1 })
}

/// What a process has used so far; `None` once it has ended.
fn usage(id: u32) -> Option<(Duration, u64)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // Fields after the name, which ends with the last bracket; see proc(5). The 14th and 15th of all are times.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let processor = Duration::from_millis((ticks()? + ticks()?) * 1000 / u64::from(TICKS));
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some((processor, most.trim().trim_end_matches(" kB").parse().ok()?))
}

/// A folder with a file for each policy: three hooks with filters, and a selector of pods of its own.
fn policies(folder: &Path, count: usize) -> Result<PathBuf> {
    let folder = folder.join(format!("policies-{count}"));
    fs::create_dir(&folder).context("cannot make a folder")?;
    for i in 0..count {
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: policy-{i}\nspec:\n  \
             podSelector:\n    matchLabels:\n      app: app-{i}\n  kprobes:\n  - call: security_file_permission\n    \
             syscall: false\n    message: A file is read\n    args:\n    - {{index: 0, type: file}}\n    - {{index: 1, \
             type: int}}\n    selectors:\n    - matchArgs:\n      - {{index: 0, operator: Prefix, values: [/etc/{i}/, \
             /var/lib/{i}/]}}\n      - {{index: 1, operator: Equal, values: [\"4\"]}}\n  - call: tcp_connect\n    \
             syscall: false\n    message: A connection\n    args:\n    - {{index: 0, type: sock}}\n    selectors:\n    \
             - matchArgs:\n      - {{index: 0, operator: NotDAddr, values: [10.0.0.0/8, 127.0.0.0/8]}}\n  - call: \
             sys_setuid\n    syscall: true\n    message: Another user\n    args:\n    - {{index: 0, type: int}}\n    \
             selectors:\n    - matchArgs:\n      - {{index: 0, operator: Equal, values: [\"0\", \"{i}\"]}}\n"
        );
        fs::write(folder.join(format!("{i}.yaml")), text).context("cannot write a policy")?;
    }
    Ok(folder)
}

/// One file with that many objects.
fn manifests(folder: &Path, count: usize) -> Result<PathBuf> {
    let path = folder.join(format!("manifests-{count}.yaml"));
    let mut text = String::new();
    for i in 0..count {
        let _ = write!(
            text,
            "---\n# Source: chart/templates/deployment.yaml\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: \
             app-{i}\n  namespace: ns-{}\n  labels:\n    app.kubernetes.io/name: app-{i}\n    \
             app.kubernetes.io/managed-by: Helm\nspec:\n  replicas: 2\n  selector:\n    matchLabels:\n      app: \
             app-{i}\n  template:\n    metadata:\n      labels:\n        app: app-{i}\n        version: v1\n        \
             team: team-{}\n    spec:\n      serviceAccountName: app\n      containers:\n      - name: main\n        \
             image: registry.example/app-{i}:1.2.3\n        ports:\n        - containerPort: 8080\n        env:\n        \
             - name: LEVEL\n          value: info\n        resources:\n          requests:\n            cpu: 100m\n            \
             memory: 64Mi\n        readinessProbe:\n          httpGet: {{path: /ready, port: 8080}}\n",
            i % 50,
            i % 20
        );
    }
    let mut file = File::create(&path).context("cannot write manifests")?;
    std::io::Write::write_all(&mut file, text.as_bytes()).context("cannot write manifests")?;
    Ok(path)
}
