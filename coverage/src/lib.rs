//! Which pods and workloads a policy selects, asked from both sides: [`Index`] knows policies, pods, templates of
//! pods and namespaces, and answers what a policy would watch, who would watch a pod, and what a change takes out of
//! sight.
//!
//! The index is a plain structure in memory that is told of changes (`apply`, `delete`, `reset`). It has no client,
//! no clock and nothing asynchronous, so the webhook and the command line share it. Every question borrows it only,
//! and may be about an object that it doesn't know (one that is being applied).
//!
//! What a question costs doesn't depend on how many pods there are: pods that look the same to every selector
//! (namespace, labels, containers) are one class, labels lead to classes and policies by inverted tables, and
//! spelling is compared with the words that occur, not with pods.
//!
//! The answers are values ([`Selection`], [`NearMiss`], …); the `on_*` functions of [`Index`] make [diagnostics] of
//! them.
//!
//! [diagnostics]: gatewatch_policy::diagnostic::Diagnostic

mod clash;
mod classes;
mod index;
mod loss;
mod near;
mod policies;
pub mod read;
mod say;
mod select;
mod shape;
mod siblings;
mod table;
mod text;
mod watch;

pub use clash::Clash;
pub use index::{Index, REQUIRE_COVERAGE, requires_coverage};
pub use loss::Loss;
pub use near::{NearMiss, NearPods};
pub use select::{Selection, Tally};
pub use shape::{Container, Labels, Shape, Workload};
pub use siblings::{Sibling, Stray};
pub use watch::{PolicyId, Watch};
