//! A real agent in a VM, scraped by a real Prometheus with the chart's rules, whose alerts reach a real Alertmanager.

use std::{
    collections::BTreeSet,
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    Tests, queries,
    stack::{SCRAPE, Stack, Target},
};
use crate::{
    build::Built,
    cache::Cache,
    image::Kernel,
    kube::free_ports,
    setup::chart::Programs,
    vm::{NETWORK, Stream, Vm},
};

/// How long nothing happens first: some evaluations of the rules.
const QUIET: Duration = Duration::from_secs(45);
/// How long the first scrape may take, so that the rules are evaluated before anything happens.
const UP_LIMIT: Duration = Duration::from_secs(30);
/// How long the agent serves after all has happened.
const AFTER: Duration = Duration::from_secs(75);
/// The interval of the rules on events.
const EVALUATION: Duration = Duration::from_secs(15);
/// What Prometheus takes to send an alert, and a loaded machine to do all of this.
const SLACK: Duration = Duration::from_secs(10);

/// What the events of the demo raise, and nothing else does.
const EXPECTED: &[&str] = &[
    "GatewatchExternalCall",
    "GatewatchFileAccess",
    "GatewatchFileChange",
    "GatewatchKernelModule",
    "GatewatchPrivilegeRaise",
    "GatewatchSudo",
    "GatewatchUserNamespace",
];

/// Runs it to its end. Waits most of its time, so it runs beside others.
pub(super) fn run(programs: &Programs, built: &Built, cache: &Cache) -> Result<Tests> {
    let [port] = free_ports()?;
    let (sender, lines) = mpsc::channel();
    thread::scope(|scope| {
        let machine = scope.spawn(move || {
            let vm = Vm { forward: Some((port, 2112)), ..Vm::new(Kernel::V6_12) };
            let script = format!(
                "{NETWORK}; exec gatewatch-demo --before {} --after {}",
                QUIET.as_secs(),
                AFTER.as_secs()
            );
            let mut line = Vec::new();
            vm.run(&["sh", "-c", &script], built, cache, &mut |stream, bytes| {
                for byte in bytes.iter().filter(|_| stream == Stream::Stdout) {
                    if *byte == b'\n' {
                        // The receiver is closed when the tests have ended.
                        let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
                        line.clear();
                    } else {
                        line.push(*byte);
                    }
                }
                Ok(())
            })
        });
        let mut tests = Tests::default();
        let told = scenario(&mut tests, programs, port, &lines);
        let output = machine.join().map_err(|_| anyhow::anyhow!("the VM's thread broke down"))??;
        if let Err(error) = told {
            let failure = output.failure.map(|failure| format!("; {failure}")).unwrap_or_default();
            let rest: Vec<String> = lines.try_iter().collect();
            bail!("{error:#}{failure}\n{}", rest.join("\n"));
        }
        Ok(tests)
    })
}

fn scenario(tests: &mut Tests, programs: &Programs, port: u16, lines: &Receiver<String>) -> Result<()> {
    wait_line(lines, "ready after", Duration::from_mins(4))?;
    let stack = Stack::start(programs, &[Target { component: "agent", port }])?;
    let begun = Instant::now();
    let mut up = false;
    while !up && begun.elapsed() < UP_LIMIT {
        thread::sleep(SCRAPE);
        up = !stack.query("up == 1")?.is_empty();
    }
    tests.verdict("Prometheus scrapes the agent", &one_if(!up, "the target isn't up"));

    wait_line(lines, "host$ sudo", QUIET + Duration::from_mins(1))?;
    let sudo = Instant::now();
    let early = names(&stack.query("ALERTS")?, "alertname");
    tests.verdict("a fresh and quiet install raises no alert", &early.into_iter().collect::<Vec<_>>());

    let limit = EVALUATION + SCRAPE + SLACK;
    let within = loop {
        if stack.alerts()?.iter().any(|alert| alert == "GatewatchSudo") {
            break true;
        }
        if sudo.elapsed() > limit {
            break false;
        }
        thread::sleep(Duration::from_millis(200));
    };
    println!("GatewatchSudo was in Alertmanager {:.1} s after sudo", sudo.elapsed().as_secs_f64());
    let late = format!("GatewatchSudo isn't in Alertmanager {} s after sudo", limit.as_secs());
    tests
        .verdict("an alert is in Alertmanager one evaluation and scrape after sudo", &one_if(!within, &late));

    wait_line(lines, "$ curl localhost", Duration::from_mins(2))?;
    thread::sleep(EVALUATION + SCRAPE + SLACK);
    let wanted: BTreeSet<String> = EXPECTED.iter().map(|&alert| alert.to_owned()).collect();
    let raised: BTreeSet<String> = stack.alerts()?.into_iter().collect();
    let missing = wanted.difference(&raised).map(|alert| format!("{alert} is missing"));
    let others = raised.difference(&wanted).map(|alert| format!("{alert} is not expected"));
    tests.verdict("what happened raises its alerts and no other", &missing.chain(others).collect::<Vec<_>>());

    let taken = stack.query("tetragon_policy_events_total{policy=\"sudo-invocations\", namespace!=\"\"}")?;
    let fault = format!("the host's events have the target's labels: {taken:?}");
    tests.verdict("labels of events are not those of the target", &one_if(!taken.is_empty(), &fault));

    let (mut empty, mut asked) = (Vec::new(), 0);
    for query in queries::dashboard()?.iter().filter(|query| !query.is_of_the_gate()) {
        asked += 1;
        match stack.query(&query.text) {
            Ok(samples) if !samples.is_empty() => {}
            Ok(_) => empty.push(format!("{}: no data from {}", query.panel, query.text)),
            Err(error) => empty.push(format!("{}: {error:#}", query.panel)),
        }
    }
    println!("{asked} queries of the dashboard were run");
    tests.verdict("the dashboard's queries on agents have data", &empty);
    Ok(())
}

/// Waits for a line of the VM's that begins so.
fn wait_line(lines: &Receiver<String>, beginning: &str, limit: Duration) -> Result<()> {
    let begun = Instant::now();
    loop {
        let line = lines
            .recv_timeout(limit.saturating_sub(begun.elapsed()))
            .with_context(|| format!("the VM did not say \"{beginning}\" within {} s", limit.as_secs()))?;
        if line.starts_with(beginning) {
            return Ok(());
        }
        if let Some(reason) = line.strip_prefix("demo failed: ") {
            bail!("the demo failed in the VM: {reason}");
        }
    }
}

fn names(samples: &[serde_json::Value], label: &str) -> BTreeSet<String> {
    samples.iter().filter_map(|sample| sample["metric"][label].as_str().map(ToOwned::to_owned)).collect()
}

fn one_if(fault: bool, text: &str) -> Vec<String> {
    fault.then(|| text.to_owned()).into_iter().collect()
}
