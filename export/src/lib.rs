//! Outputs of records. [`Outputs::send`] takes a record, redacts and filters it, and puts its line into the queue of each
//! output. It never waits: each output has a bounded queue and a thread of its own, so a slow one delays no other.
//!
//! What becomes of each record is exact: the record's [`Tally`] counts it as written as soon as one output has written
//! it, or else as not written, with the reason.

pub mod file;
pub mod ledger;
mod limit;
pub mod options;
pub mod outputs;
mod queue;
mod socket;
mod stream;

pub use ledger::{Reason, Tally};
pub use options::ExportOptions;
pub use outputs::{OutputState, Outputs};
