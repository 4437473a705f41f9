//! What is attached, and what it takes.

use std::sync::Arc;

use aya::programs::ProgramFd;

use super::{Attached, BpfPrograms, Lane, Uprobes, function::Function, records::ProcessRecords};

impl BpfPrograms {
    /// The attached programs.
    pub fn attached(&self) -> Vec<Attached> {
        self.functions
            .iter()
            .map(|(lane, function)| Attached { lane: lane.clone(), program: function.program() })
            .collect()
    }

    /// Why a lane's program sees nothing although it was attached: it has been removed or replaced. Of programs at functions of
    /// user programs nothing is known here.
    pub fn detached(&self, lane: &Lane) -> Option<String> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.functions.get(lane)?.verify().err()
    }

    /// What makes uprobes, once a matcher was prepared for one.
    pub fn uprobes(&self) -> Option<&Arc<Uprobes>> {
        self.uprobes.as_ref()
    }

    /// The program that is attached in a lane.
    pub fn program(&self, lane: &Lane) -> Option<Arc<ProgramFd>> {
        self.functions.get(lane).map(Function::program)
    }

    /// Bytes of the kernel's memory that a function's programs and maps take.
    pub fn memory(&self, lane: &Lane) -> u64 {
        self.functions.get(lane).map_or(0, Function::memory)
    }

    /// Number of instructions that the verifier processed, by program.
    pub fn verified_instructions(&self) -> Vec<(String, u32)> {
        let mut all = self.tracker.verified_instructions();
        all.extend(self.process_records.iter().flat_map(ProcessRecords::verified_instructions));
        all.extend(
            self.functions
                .iter()
                .filter_map(|(lane, function)| Some((lane.to_string(), function.verified_instructions()?))),
        );
        all.extend(self.functions.iter().filter_map(|(lane, function)| {
            Some((format!("the records of {lane}"), function.verified_for_records()?))
        }));
        all
    }
}
