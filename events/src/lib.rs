//! Records of events. The agent fills an [`Event`] and writes it as one line of JSON. The format is Tetragon's
//! (`api/v1/tetragon/events.proto` in its repository), in protojson's encoding with the names of the proto file, so
//! `tetra getevents` and existing pipelines read it. What Gatewatch adds has keys of its own, which such readers skip.
//! The page docs/event-format.md is the reference.
//!
//! Pure: no clock, no files, no network.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod argument;
pub mod bits;
pub mod compact;
pub mod event;
pub mod fields;
pub mod filter;
pub mod hook;
mod json;
pub mod pod;
pub mod process;
pub mod redaction;
pub mod time;

pub use argument::{Argument, Value};
pub use event::{Event, Kind};
pub use hook::Action;
pub use json::text;
pub use pod::{Container, Image, Pod};
pub use process::Process;
pub use time::Timestamp;
