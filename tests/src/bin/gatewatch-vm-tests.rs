//! The tests that need a kernel. Run by `cargo xtask test vm` on each supported one.
//!
//! They run one after the other: every test has the kernel half to itself.

use std::process::ExitCode;

use gatewatch_tests::{pod::Container, vm};
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    Container::enter();
    if let Some(code) = vm::helper() {
        return code;
    }
    // What isn't libtest's: how long and by which seed `endurance` goes on.
    let own = |word: &String| vm::endurance::set(word);
    let words: Vec<String> = std::env::args().filter(|word| !own(word)).collect();
    let mut arguments = Arguments::from_iter(words);
    arguments.test_threads = Some(1);
    let trials = vm::ALL.iter().map(|(name, test)| {
        Trial::test(*name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
