//! Scrapes and probes while policies change.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{SETUID, policy};
use crate::{
    agent::{Agent, sum},
    calls, pod,
    scrape::{self, EVENTS},
};

/// Policies that change.
const POLICIES: usize = 50;
/// The functions that they hook in turns.
const FUNCTIONS: [&str; 4] = ["__sys_setgid", "__sys_setreuid", "__sys_setregid", "__sys_setresuid"];
/// Ten scrapes a second.
const EVERY: Duration = Duration::from_millis(100);
/// Between two changes.
const PAUSE: Duration = Duration::from_millis(20);
/// Scrapes of a quiet agent.
const QUIET: usize = 15;
/// The slowest scrape depends on what else the host does, so it may be measured this often. A scrape that waits for the
/// verifier is slow each time.
const ROUNDS: u32 = 3;
/// What of a probe's time is not the agent's: a connection on a busy machine.
const CONNECTING: Duration = Duration::from_millis(100);
/// The bound: the slowest scrape while policies change over the slowest of a quiet agent.
const RATIO: u32 = 2;

fn hook(number: usize, round: u32) -> String {
    let (function, value) = (FUNCTIONS[number % FUNCTIONS.len()], 1_000 * (round as usize + 1) + number);
    format!(
        "  - call: {function}\n    syscall: false\n    args: [{{index: 0, type: uint32}}]\n    selectors:\n    - \
         matchArgs: [{{index: 0, operator: Equal, values: [\"{value}\"]}}]"
    )
}

/// An agent that is scraped, and the number of calls that its first policy has to have counted.
struct Scraped {
    agent: Agent,
    calls: u64,
}

impl Scraped {
    /// One scrape and both probes: the text of the scrape, and how long the slowest took. The count must be exact, whatever
    /// happens to other policies.
    fn scrape(&mut self) -> (String, Duration) {
        calls::setuid_root(10);
        self.calls += 10;
        let begun = Instant::now();
        let text = self.agent.metrics();
        // Not the time of the answer: beyond a burst, one rendering begins each second.
        let seconds = scrape::samples(&text, "gatewatch_scrape_duration_seconds")[0].1;
        let took = ["/healthz", "/readyz"].map(|path| self.probe(path)).into_iter().max().unwrap_or_default();
        let took = took.saturating_sub(CONNECTING).max(Duration::from_secs_f64(seconds));
        assert_eq!(sum(&text, EVENTS, &[("policy", "all")]), self.calls, "{text}\n{}", self.agent.log());
        sleep(EVERY.saturating_sub(begun.elapsed()));
        (text, took)
    }

    /// The time until a probe is answered.
    fn probe(&self, path: &str) -> Duration {
        let begun = Instant::now();
        let (status, text) = scrape::get(self.agent.address(), path).expect("an answer");
        assert_eq!(status, 200, "{path}: {text}");
        begun.elapsed()
    }

    fn slowest_while_quiet(&mut self) -> Duration {
        (0..QUIET).map(|_| self.scrape().1).max().unwrap_or_default()
    }

    /// Changes all policies, one after the other, and scrapes until all are applied.
    fn slowest_while_changing(&mut self, round: u32) -> Duration {
        let folder = self.agent.policies.clone();
        let writer = std::thread::spawn(move || {
            for number in 0..POLICIES {
                let text = policy(&format!("many-{number}"), &hook(number, round));
                fs::write(folder.join(format!("many-{number}.yaml")), text).expect("written");
                sleep(PAUSE);
            }
            let text = policy(&format!("last-{round}"), &hook(0, round));
            fs::write(folder.join("last.yaml"), text).expect("written");
        });
        let last = format!("policy=\"last-{round}\",reason=\"\",state=\"running\"");
        let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
        loop {
            let (text, took) = self.scrape();
            slowest = slowest.max(took);
            if text.contains(&last) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "{text}\n{}", self.agent.log());
        }
        writer.join().expect("the policies are written");
        slowest
    }
}

/// The slowest scrape while 50 policies change is at most twice the slowest of a quiet agent, and all counts are exact.
pub(super) fn while_policies_change() {
    let texts: Vec<(String, String)> = (0..POLICIES)
        .map(|number| {
            (format!("many-{number}.yaml"), policy(&format!("many-{number}"), &hook(number, ROUNDS)))
        })
        .collect();
    let all = policy("all", SETUID);
    let mut policies: Vec<(&str, &str)> =
        texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    policies.push(("all.yaml", &all));
    let mut scraped = Scraped { agent: Agent::start(&policies, &pod::list(&[])), calls: 0 };
    let mut measured = Vec::new();
    for round in 0..ROUNDS {
        let quiet = scraped.slowest_while_quiet();
        let changing = scraped.slowest_while_changing(round);
        println!("slowest scrape: {quiet:?} quiet, {changing:?} while policies change");
        if changing <= quiet * RATIO {
            return;
        }
        measured.push((quiet, changing));
    }
    panic!("scrapes wait for policies (quiet, changing): {measured:?}\n{}", scraped.agent.log());
}
