//! Rust types of the Kubernetes kinds that Gatewatch reads and writes, and the manifests made from them.
//!
//! | kind | group | written by | read by |
//! |---|---|---|---|
//! | [`TracingPolicy`], [`TracingPolicyNamespaced`] | `cilium.io/v1alpha1` | users | agent, webhook |
//! | [`NodeTracing`] | `gatewatch.dev/v1alpha1` | the agent of the node | webhook, users |
//! | [`PolicyCoverage`] | `gatewatch.dev/v1alpha1` | the webhook's leader | users |
//!
//! The kinds of `cilium.io` are those of Tetragon: whatever Tetragon's own definition of the kind admits is admitted by
//! the schema here, and read by the types here, and what it refuses is refused. A cluster that has that definition
//! already keeps it. The schema says little about a policy's meaning: that is the work of `gatewatch-policy`, which reads
//! policies from text or JSON itself, so that it can point at the place of a mistake and name what it does not know.
//! These types are for those who need typed objects: caches, clients and tests.
//!
//! Beside objects that are written by others, watch with `kube`'s `DeserializeGuard`: a newer definition may admit an
//! argument type or an operator that is not known here, and such an object must not stop the watch.
//!
//! # Numbers
//!
//! Where the schema has `int32` or `int64` without a minimum, the types are signed, though the kernel's values may not be:
//! an object that the API server admitted must be read, whatever it says. Positions in argument lists have a minimum of 0
//! and are `u32`.
//!
//! # Absent and empty
//!
//! A selector that is absent ([`None`]) and one that is `{}` mean different things. A list that is absent and an empty
//! one mean the same, and an empty one is not written.
//!
//! # Manifests
//!
//! `crds/manifests/` holds one `CustomResourceDefinition` a kind, written by `cargo run -p gatewatch-crds --bin crdgen`
//! from [`manifest::definitions`]; a test fails when they differ.
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
