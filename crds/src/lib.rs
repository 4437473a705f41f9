//! Rust types of the Kubernetes kinds that Gatewatch reads and writes, and the manifests made from them.
//!
//! | kind | group | written by | read by |
//! |---|---|---|---|
//! | [`TracingPolicy`], [`TracingPolicyNamespaced`] | `cilium.io/v1alpha1` | users | agent, webhook |
//! | [`NodeTracing`] | `gatewatch.dev/v1alpha1` | the agent of the node | webhook, users |
//! | [`PolicyCoverage`] | `gatewatch.dev/v1alpha1` | the webhook's leader | users |
//!
//! The kinds of `cilium.io` are Tetragon's. The schema admits what Tetragon's own definitions admit, rejects what they
//! reject, and the types read everything that they admit. A cluster that already has these definitions keeps them.
//!
//! The schema checks little of a policy's meaning. `gatewatch-policy` does that. It reads policies from text or JSON
//! itself, so that it can report the position of a mistake and the name of an unknown field. The types of this crate
//! are for code that needs typed objects: caches, clients and tests.
//!
//! Watch objects of other writers with `kube`'s `DeserializeGuard`. A newer definition may admit an argument type or an
//! operator that these types do not know, and such an object must not end the watch.
//!
//! # Numbers
//!
//! If the schema has `int32` or `int64` without a minimum, the types are signed, even if the kernel's values are not.
//! Every object that the API server admitted must be readable. Positions in argument lists have a minimum of 0 and are
//! `u32`.
//!
//! # Absent and empty
//!
//! An absent selector ([`None`]) and an empty one (`{}`) have different meanings. An absent list and an empty one have
//! the same meaning, and an empty list is not written.
//!
//! # Manifests
//!
//! `crds/manifests/` contains one `CustomResourceDefinition` for each kind. `cargo run -p gatewatch-crds --bin crdgen`
//! writes them from [`manifest::definitions`], and a test fails if they differ.
#![allow(clippy::duplicated_attributes, reason = "each `printcolumn` of kube's derive has a `type_`")]

pub mod action;
pub mod argument;
mod cel;
pub mod hook;
pub mod labels;
pub mod manifest;
pub mod node_tracing;
pub mod operator;
pub mod policy;
pub mod policy_coverage;
pub mod selector;
pub mod user_hook;

pub use node_tracing::{NodeTracing, NodeTracingSpec, NodeTracingStatus};
pub use policy::{TracingPolicy, TracingPolicyNamespaced, TracingPolicyNamespacedSpec, TracingPolicySpec};
pub use policy_coverage::{PolicyCoverage, PolicyCoverageSpec, PolicyCoverageStatus};

/// For `skip_serializing_if` on flags that are false when absent and have no default in the schema.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// For `default` on flags that are true when absent.
fn yes() -> bool {
    true
}
