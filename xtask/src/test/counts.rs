//! How many tests of a suite passed, failed and were ignored, and which failed.
//!
//! The counts come from what the test programs print. cargo-nextest would replace that for `cargo test` alone: it runs no
//! documentation tests, and the tests in VMs print to a serial port, where no runner can start them.

use serde::{Deserialize, Serialize};

/// The counts of one suite.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    /// Those that this run left out, such as the tests that one kernel's version does not matter to.
    pub(super) ignored: u64,
    /// What failed, as far as it has names.
    pub(super) failures: Vec<String>,
}

impl Counts {
    /// One test that failed.
    pub(super) fn failure(name: impl Into<String>) -> Self {
        Self { failed: 1, failures: vec![name.into()], ..Self::default() }
    }

    /// One test, by its outcome.
    pub(super) fn one(name: &str, passed: bool) -> Self {
        if passed { Self { passed: 1, ..Self::default() } } else { Self::failure(name) }
    }

    /// The sum of both.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.failures.extend(other.failures);
        self
    }

    /// A suite in which no test ran has not passed.
    pub(super) fn at_least_one(self) -> Self {
        if self.passed + self.failed == 0 { Self::failure("no test ran") } else { self }
    }

    /// Of a test program that was ended from outside: the tests that it reported, and the one that was running.
    pub(super) fn of_broken_off(output: &str) -> (Self, Option<String>) {
        let (mut counts, mut running) = (Self::default(), None);
        for line in output.lines().map(str::trim) {
            // A test that prints something has its outcome on a line of its own.
            let mut outcome = line;
            if let Some((name, rest)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ...")) {
                (running, outcome) = (Some(name.trim_end()), rest.trim_start());
            }
            if let (Some(name), "ok" | "FAILED") = (running, outcome) {
                counts = counts.and(Self::one(name, outcome == "ok"));
                running = None;
            }
        }
        (counts, running.map(ToOwned::to_owned))
    }

    /// Reads what Rust's test programs print (libtest, and what imitates it): `test NAME ... ok` or `... FAILED` for
    /// each test, and at the end of each program `test result: ok. 3 passed; 0 failed; …`.
    ///
    /// `succeeded` is whether the run itself ended well. A program that died before its last line is a failure of its
    /// own, besides those of its tests that it reported.
    pub(super) fn of_test_programs(output: &str, succeeded: bool) -> Self {
        let (mut counts, mut program) = (Self::default(), Self::default());
        for line in output.lines().map(str::trim_end) {
            if let Some(result) = line.strip_prefix("test result: ") {
                counts.passed += number_before(result, " passed");
                counts.failed += number_before(result, " failed");
                counts.ignored += number_before(result, " ignored");
                counts.failures.append(&mut program.failures);
                program = Self::default();
            } else if let Some((name, outcome)) =
                line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
            {
                match outcome {
                    "ok" => program.passed += 1,
                    "FAILED" => program = program.and(Self::failure(name.trim_end())),
                    _ => {}
                }
            }
        }
        let broke_off = program != Self::default();
        counts = counts.and(program);
        if broke_off || !succeeded && counts.failed == 0 {
            counts = counts.and(Self::failure("a test program did not build or did not finish"));
        }
        counts
    }
}

/// The number right before `word`.
fn number_before(text: &str, word: &str) -> u64 {
    text.split_once(word)
        .and_then(|(before, _)| before.rsplit(|letter: char| !letter.is_ascii_digit()).next())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\nrunning 3 tests\ntest a::good ... ok\ntest a::bad ... FAILED\ntest c ... ignored\n\n\
        test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n\
        running 12 tests\ntest result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";

    #[test]
    fn every_program_counts() {
        let counts = Counts::of_test_programs(OUTPUT, false);
        assert_eq!(counts, Counts { passed: 13, failed: 1, ignored: 1, failures: vec!["a::bad".into()] });
    }

    #[test]
    fn a_run_that_broke_off_is_a_failure_and_its_tests_count() {
        let counts = |output, succeeded| {
            let counts = Counts::of_test_programs(output, succeeded);
            (counts.passed, counts.failed)
        };
        assert_eq!(counts("test a   ... ok\ntest b ... FAILED\ntest c ... ", false), (1, 2));
        assert_eq!(counts("test a ... ok\n", true), (1, 1));
        assert_eq!(counts("", false), (0, 1));
        assert_eq!(counts("test result: ok. 2 passed; 0 failed;\n", false), (2, 1));
    }

    #[test]
    fn a_program_that_was_ended_is_gone_on_with_where_it_was() {
        let output = "running 9 tests\ntest a   ... ok\ntest b ... took 3 s\nok\ntest c ... FAILED\ntest d  ... said so\n";
        let (counts, running) = Counts::of_broken_off(output);
        assert_eq!(counts, Counts { passed: 2, failed: 1, ignored: 0, failures: vec!["c".into()] });
        assert_eq!(running.as_deref(), Some("d"));
        assert_eq!(Counts::of_broken_off("test a ... ok\n").1, None);
    }

    #[test]
    fn a_suite_without_tests_is_a_failure() {
        assert_eq!(Counts::of_test_programs("", true).at_least_one().failed, 1);
        assert_eq!(Counts::one("x", true).at_least_one().failed, 0);
    }
}
