//! Benches.

pub mod event;
