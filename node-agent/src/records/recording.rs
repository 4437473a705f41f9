//! What the agent is started with to record events.

use std::sync::Arc;

use gatewatch_export::Outputs;

use super::{Node, Reader, Shared};
use crate::{bpf::RecordLimits, engine::Engine};

/// How events are recorded.
pub struct Recording {
    /// `None`: they are not.
    pub limits: Option<RecordLimits>,
    /// What all records have in common.
    pub node: Node,
    /// Where they go.
    pub outputs: Option<Arc<Outputs>>,
}

impl Recording {
    /// What reads the records of this engine, if there are any.
    pub fn reader(self, engine: &mut Engine, shared: Option<&Arc<Shared>>) -> Option<Reader> {
        let ring = engine.bpf_mut().take_ring()?;
        let cgroups = engine.bpf().cgroups();
        Some(Reader::new(ring, Arc::clone(shared?), self.node, self.outputs?, cgroups))
    }
}
