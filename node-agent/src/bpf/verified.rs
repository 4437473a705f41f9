//! How many instructions of a program the verifier has processed.

use aya::Ebpf;

/// Number of instructions that the verifier processed, by program of an object.
pub(super) fn verified_instructions(ebpf: &Ebpf) -> Vec<(String, u32)> {
    ebpf.programs()
        .filter_map(|(name, program)| {
            Some((name.to_owned(), program.info().ok()?.verified_instruction_count()?))
        })
        .collect()
}
