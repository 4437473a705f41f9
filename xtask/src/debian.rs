//! Debian packages from suites other than the machine's own, without touching the machine: apt-get with sources and
//! state of its own does the fetching and the checking of signatures.

mod mirror;
mod suite;

pub(crate) use suite::Suite;
