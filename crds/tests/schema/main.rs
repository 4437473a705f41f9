//! What the schemas of the kinds admit and reject, as the API server would.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod dialect;
mod language;
mod own_kinds;
mod shipped;
