//! The BPF programs of Gatewatch: an object for each bin.
//!
//! * `track` follows processes and cgroups: which program a process runs, which directory a cgroup is. Loaded once.
//! * `attach` is attached to a kernel function: it tail-calls the function's matcher, so that a matcher can be
//!   replaced in one step, between two events.
//! * `matcher` matches an event and counts it. Loaded once for each kernel function, with a
//!   [`MatcherConfig`](gatewatch_abi::MatcherConfig) frozen
//!   into it, which lists the fields that the policies on this function read. The verifier then knows every field of it,
//!   and removes unused code before the program runs.
//! * `recorder` records events that a matcher has counted, and processes. Loaded once for each lane that records, and once for
//!   processes.
#![no_std]
#![feature(asm_experimental_arch)]

pub mod arch;
pub mod context;
pub mod counting;
pub mod descriptor;
pub mod enforce;
pub mod globals;
pub mod handover;
pub mod integer;
pub mod internet;
pub mod matcher;
pub mod memory;
pub mod object;
pub mod packet;
pub mod path;
pub mod points;
pub mod program;
pub mod rows;
pub mod scratch;
pub mod shape;
pub mod shared;
pub mod shares;
pub mod sockaddr;
pub mod task;
pub mod text;
mod way;
