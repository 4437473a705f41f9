//! Records of events: read from the kernel's ring buffer, completed with process and pod, and handed to the outputs.
//!
//! * [`decode`] reads the bytes;
//! * `processes` is the table of processes;
//! * `convert` and `values` make events of records;
//! * `waiting` holds those whose pods aren't known yet;
//! * [`Reader`] is the thread that does all of it;
//! * [`Catalog`] has the meaning of hooks' numbers, and what became of their records.

mod actions;
mod catalog;
mod clock;
mod convert;
mod decode;
mod ending;
mod options;
mod owners;
mod processes;
mod reader;
mod recording;
mod values;
mod waiting;

pub use self::{
    catalog::Catalog,
    convert::Node,
    decode::{RawValue, Record, decode},
    options::RecordOptions,
    owners::Owners,
    reader::{Reader, Shared},
    recording::Recording,
};
