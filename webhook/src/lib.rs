//! Gatewatch's gate: the validating admission webhook.
//!
//! ```text
//! POST -> review -> gate (policies, workloads) -> diagnostics -> verdict (by modes) -> AdmissionReview
//!                     ^ reads only
//! watches -> cluster (coverage index, kernels, policies) -> status (one replica writes PolicyCoverage, Events)
//! ```
//!
//! A decision reads only memory: it sends no requests and writes nothing (`sideEffects: None`). Watches fill the memory.
//! Until they have, only the rules that need no cluster apply.

pub mod access;
pub mod agents;
pub mod args;
pub mod caches;
pub mod cluster;
pub mod gate;
pub mod http;
pub mod kernels;
pub mod leadership;
pub mod metrics;
pub mod modes;
pub mod plans;
pub mod profiles;
pub mod registration;
pub mod review;
pub mod run;
pub mod status;
pub mod stored_policy;
pub mod tls;
pub mod vap;
pub mod verdict;
pub mod watches;

/// A decision allocates and frees a few hundred small blocks, and reads data of ten thousand pods all over the heap. This
/// allocator needs less time than the C library's. It also asks the kernel for large pages, without which the reads are
/// sometimes slow: docs/performance.md, "A decision of the webhook".
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
