//! What the tests on real kernels, the demo and the benches share.
//!
//! These are tests, so a failure may be a panic: `expect` says what was expected.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed expectation ends a test"
)]
#![allow(clippy::missing_panics_doc, reason = "a failed expectation ends a test")]

pub mod agent;
pub mod bench;
pub mod calls;
pub mod kernel;
pub mod modules;
pub mod pod;
pub mod programs;
pub mod scrape;
pub mod tiny;
pub mod vm;
