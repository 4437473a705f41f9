//! The tests that need a kernel. Run by `cargo xtask test vm` on each supported one.
//!
//! They run one after the other: every test has the BPF programs to itself.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use gatewatch_tests::{
    pod::Container,
    vm::{self, Kernels},
};
use libtest_mimic::{Arguments, Trial};

/// What the name of the first test comes after, on the command line.
const FIRST: &str = "--first=";

/// Ignores the tests that do not depend on the kernel's version. `--include-ignored` runs them all the same.
const VERSION_DEPENDENT: &str = "--version-dependent";

/// How many of the slowest tests are listed at the end.
const LISTED: usize = 15;

/// What each test took, for the list at the end.
type Times = Arc<Mutex<Vec<(Duration, &'static str)>>>;

fn main() -> ExitCode {
    Container::enter();
    // As the agent does: while a policy is replaced, the programs and maps of both versions are open.
    gatewatch_agent::privileges::allow_open_files();
    if let Some(code) = vm::helper() {
        return code;
    }
    // What isn't libtest's: the length and the seed of `endurance`.
    let own = |word: &String| vm::endurance::set(word);
    let mut words: Vec<String> = std::env::args().filter(|word| !own(word)).collect();
    // Nor this: the test to begin with, of those that are asked for.
    let first = words.iter().position(|word| word.starts_with(FIRST)).map(|index| words.remove(index));
    let first = first.as_deref().and_then(|word| word.strip_prefix(FIRST));
    let begin = first.map_or(Some(0), |first| vm::ALL.iter().position(|test| test.name == first));
    let Some(begin) = begin else {
        eprintln!("there is no test {}", first.unwrap_or_default());
        return ExitCode::FAILURE;
    };
    let all_words = words.len();
    words.retain(|word| word != VERSION_DEPENDENT);
    let version_dependent = words.len() < all_words;
    let mut arguments = Arguments::from_iter(words);
    arguments.test_threads = Some(1);
    let times = Times::default();
    let trials = vm::ALL[begin..].iter().map(|test| {
        let run = test.run;
        let times = Arc::clone(&times);
        let ignored = version_dependent && test.kernels == Kernels::Complete;
        Trial::test(test.name, move || {
            let start = Instant::now();
            run();
            let time = (start.elapsed(), test.name);
            times.lock().unwrap_or_else(PoisonError::into_inner).push(time);
            Ok(())
        })
        .with_ignored_flag(ignored)
    });
    let code = libtest_mimic::run(&arguments, trials.collect()).exit_code();
    list_slowest(&times);
    code
}

/// Says where the suite's time goes.
fn list_slowest(times: &Times) {
    let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
    times.sort_unstable_by(|one, other| other.cmp(one));
    let total: Duration = times.iter().map(|(time, _)| *time).sum();
    println!("slowest of {} tests, which took {:.1} s together:", times.len(), total.as_secs_f64());
    for (time, name) in times.iter().take(LISTED) {
        println!("{:8.1} s  {name}", time.as_secs_f64());
    }
}
