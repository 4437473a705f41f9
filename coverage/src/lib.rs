//! The pods and workloads that a policy selects, from both sides. [`Index`] holds policies, pods, templates of pods and
//! namespaces. It answers which pods a policy selects, which policies select a pod, and which pods a change deselects.
//!
//! The index is a plain structure in memory that receives changes (`apply`, `delete`, `reset`). It has no client, no
//! clock and nothing asynchronous, so the webhook and the command line share it. Every query borrows it, and may be
//! about an object that it does not hold (one that is being applied).
//!
//! The cost of a query does not depend on the number of pods. Pods that look the same to every selector (namespace,
//! labels, containers) form one group. Inverted indexes map labels to groups and policies. Typos are searched among the
//! distinct words, not among the pods.
//!
//! The answers are values ([`Selection`], [`LabelTypo`], …). The `on_*` functions of [`Index`] turn them into
//! [diagnostics].
//!
//! [diagnostics]: gatewatch_policy::diagnostic::Diagnostic

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod admitted;
mod applications;
mod deselection;
mod duplicate_hooks;
mod index;
mod indexed_policy;
mod label_index;
mod limits;
mod misplaced_labels;
mod policies;
pub mod read;
mod related_workloads;
mod report;
mod select;
mod selection;
mod shape;
pub mod templates;
mod terms;
mod text;
mod typos;
mod workloads;

pub use deselection::Deselection;
pub use duplicate_hooks::DuplicateHook;
pub use index::{Index, REQUIRE_COVERAGE, requires_coverage};
pub use indexed_policy::{IndexedPolicy, PolicyId};
pub use limits::{Hint, Hints, Limits};
pub use misplaced_labels::MisplacedLabel;
pub use related_workloads::RelatedWorkload;
pub use selection::{Selection, Tally};
pub use shape::{Container, Labels, Shape, Workload};
pub use typos::{LabelTypo, MissedPods};
