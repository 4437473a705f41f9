//! The matcher of a function: loaded with its tables, before it is put in the place of the one before.

use aya::{Btf, maps::Map};
use gatewatch_abi::{Enforced, IntSlot, TextSlot, consts::ADDR_NONE};
use gatewatch_policy::match_tables::Tables;

use super::{
    program::LoadedProgram,
    recorder::Recorder,
    tables::{OWN, fill, write_enforced, write_rows},
};
use crate::bpf::{
    LoadError, Node,
    attach_type::AttachType,
    bpffs::Pins,
    fdinfo::memory_of,
    loader::{Loader, With},
    objects,
};

/// A matcher that is loaded.
pub struct Prepared {
    pub(super) program: LoadedProgram,
    recorder: Option<Recorder>,
    words: usize,
    in_pairs: bool,
    /// The contents of `ENFORCED`.
    enforced: Vec<Enforced>,
}

impl Prepared {
    /// Loads a matcher with these tables, for a function to which a program is attached in this way.
    pub(super) fn load(
        node: &Node,
        pins: &Pins,
        (loader, btf): (&mut Loader, &Btf),
        (symbol, by): (&str, AttachType),
        hash_key: u64,
        (mut tables, enforced): (Tables, Vec<Enforced>),
    ) -> Result<Self, LoadError> {
        if by.has_no_arguments() && reads_arguments(&tables) {
            return Err(LoadError::ArgumentsOnReturn(symbol.to_owned()));
        }
        tables.config.remember = u32::from(!by.is_interruptible() || !node.interruptible.is_so());
        let object = objects::matcher(&tables.config, by)?;
        // Filling an object's maps is what must not be interrupted; so is writing its globals, which are a map too.
        let realtime = node.interruptible.realtime_guard();
        let in_pairs = objects::in_pairs(&tables.config, by);
        let size = |len: usize| u32::try_from(len.max(1)).unwrap_or(u32::MAX);
        let globals: &[(_, &[u8])] =
            &[("LAYOUT", bytemuck::bytes_of(&node.layout)), ("CONFIG", bytemuck::bytes_of(&tables.config))];
        let entries = &[
            ("ROWS", size(if in_pairs { 0 } else { tables.rows.len() })),
            ("PAIRS", size(if in_pairs { tables.rows.len() / 2 } else { 0 })),
            ("ACTIONS", size(tables.actions.len())),
            ("ENFORCED", size(enforced.len())),
            ("EXACT", size(tables.exact.len())),
            ("DIRECT", size(tables.direct.len())),
            ("BREAKS", size(tables.breaks.len())),
            ("BINARY_ROWS", size(2 * tables.binaries.len())),
            ("PREFIX", size(tables.prefixes.len())),
            ("POSTFIX", size(tables.postfixes.len())),
            ("ADDRESSES", size(tables.addresses.len())),
        ];
        let mut ebpf = loader.load("matching", object, &With { globals, entries })?;
        fill(&mut ebpf, &tables, hash_key, in_pairs)?;
        write_enforced(&mut ebpf, &[], &enforced)?;
        drop(realtime);
        let recorder = match &node.records {
            Some(limits) if tables.config.records != 0 => {
                Some(Recorder::load(node, limits, pins, (loader, btf), (symbol, by), &tables)?)
            }
            _ => None,
        };
        let mut program = LoadedProgram::load((ebpf, object), by.matcher(), by, symbol, btf, pins.dir())?;
        if let Some(recorder) = &recorder {
            let _realtime = node.interruptible.realtime_guard();
            recorder.install(&mut program.ebpf)?;
        }
        Ok(Self { program, recorder, words: tables.config.words as usize, in_pairs, enforced })
    }

    /// Writes one row.
    pub(super) fn set_row(&mut self, row: u32, words: &[u64]) -> Result<(), LoadError> {
        let first_word = row * u32::try_from(self.words).unwrap_or(1);
        write_rows(&mut self.program.ebpf, first_word, words, self.in_pairs)
    }

    /// Writes what its bits may do.
    pub(super) fn set_enforced(&mut self, enforced: Vec<Enforced>) -> Result<(), LoadError> {
        write_enforced(&mut self.program.ebpf, &self.enforced, &enforced)?;
        self.enforced = enforced;
        Ok(())
    }

    /// Number of instructions that the verifier processed for its recorder, if it has one.
    pub(super) fn verified_for_records(&self) -> Option<u32> {
        self.recorder.as_ref()?.verified_instructions()
    }

    /// Bytes of the kernel's memory that it and its maps take.
    pub(super) fn memory(&self) -> u64 {
        let program = self.program.fd().map_or(0, memory_of);
        let maps = self.program.ebpf.maps().filter(|(name, _)| OWN.contains(name));
        let maps = maps.filter_map(|(_, map)| match map {
            Map::Array(data) | Map::HashMap(data) | Map::LpmTrie(data) => Some(memory_of(data.fd())),
            _ => None,
        });
        program + maps.sum::<u64>() + self.recorder.as_ref().map_or(0, Recorder::memory)
    }
}

fn reads_arguments(tables: &Tables) -> bool {
    let config = &tables.config;
    config.ints.iter().any(IntSlot::reads_arguments)
        || config.texts.iter().any(TextSlot::reads_arguments)
        || config.addrs.iter().any(|slot| slot.source != ADDR_NONE)
}
