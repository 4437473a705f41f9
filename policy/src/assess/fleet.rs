//! What the kernels of an assessment are to one another.

/// What several kernels are to one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fleet {
    /// The policy is to run on each of them: an error on one is an error.
    Requested,
    /// They are those of a cluster. An error on some is a warning that counts the nodes: the others run the policy.
    Cluster {
        /// Nodes whose kernel is not known.
        unknown: usize,
    },
}
