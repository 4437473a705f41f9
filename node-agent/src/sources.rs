//! Where policies and pods come from: files, or the API server.
//!
//! The agent asks its sources several times a second what has changed. A source that can't reach what it reads says
//! nothing new, and what it said last stays in force.

mod enforcement_file;
mod files;

use std::{collections::BTreeMap, fmt, path::PathBuf};

use crate::{enforcement::Settings, pods::Pod, policy_dir::DirError};

pub use enforcement_file::EnforcementFile;
pub use files::Files;

/// Where a policy is from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A file, which may hold several.
    File(PathBuf),
    /// An object of the API server.
    Object {
        /// `TracingPolicy` or `TracingPolicyNamespaced`.
        kind: &'static str,
        /// `metadata.namespace`.
        namespace: Option<String>,
        /// `metadata.name`.
        name: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Object { kind, namespace: Some(namespace), name } => write!(f, "{kind} {namespace}/{name}"),
            Self::Object { kind, namespace: None, name } => write!(f, "{kind} {name}"),
        }
    }
}

/// Something that is different from before.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An origin's policies have this text now, YAML or JSON.
    Policies {
        /// Which one.
        origin: Origin,
        /// The text.
        text: String,
        /// `metadata.generation`, for an object of the API server.
        generation: Option<i64>,
    },
    /// An origin is no more.
    PoliciesGone(Origin),
    /// These are all the pods that there are.
    Pods(Vec<Pod>),
    /// A pod was made or has changed.
    Pod(Pod),
    /// The pod of this uid was deleted.
    PodGone(String),
    /// The labels of this node; `None`: the agent may not read them.
    NodeLabels(Option<BTreeMap<String, String>>),
    /// What policies may do, by a file or the cluster's `ConfigMap`.
    Enforcement(Settings),
}

/// Gives changes.
pub trait Source: Send {
    /// What has changed since the last call. Quick; an error means that nothing can be had at all.
    fn poll(&mut self) -> Result<Vec<Change>, DirError>;

    /// Whether everything that there was at the start was given. Before that no policy runs.
    fn complete(&self) -> bool;

    /// Whether the pods are known as they are now. While they aren't, a pod that is missing may exist.
    fn pods_current(&self) -> bool;

    /// How many things can't be read now.
    fn problems(&self) -> u64;
}
