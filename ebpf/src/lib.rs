//! The BPF programs of Gatewatch: an object for each bin.
//!
//! * `track` follows processes and cgroups: which program a process runs, which directory a cgroup is. Loaded once.
//! * `attach` is what sits on a kernel function: it jumps to the function's matcher, so that a matcher can be
//!   replaced in one step, between two events.
//! * `matcher` matches an event and counts it. Loaded once for each kernel function, with a
//!   [`MatcherConfig`](gatewatch_abi::MatcherConfig) frozen into it that says which fields the policies on this function look at.
//!   The verifier then knows every field of the spec, and what isn't used is removed before the program runs.
#![no_std]
#![feature(asm_experimental_arch)]

pub mod arch;
pub mod context;
pub mod counting;
pub mod globals;
pub mod integer;
pub mod matcher;
pub mod memory;
pub mod object;
pub mod path;
pub mod rows;
pub mod scratch;
pub mod shape;
pub mod shared;
pub mod task;
pub mod text;
