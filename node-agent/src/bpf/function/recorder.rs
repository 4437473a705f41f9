//! The recorder of a lane: what its matcher jumps to when an event is counted that is to be recorded.

use aya::{
    Btf, Ebpf,
    maps::{Map, ProgramArray},
};
use gatewatch_abi::{
    RecordArg, RecordBit, RecordHook,
    record::consts::{AS_NOTHING, DIRECT},
};
use gatewatch_policy::match_tables::{RESULT, Tables};

use super::{program::LoadedProgram, tables::array};
use crate::bpf::{
    LoadError, Node,
    attach_type::AttachType,
    bpffs::Pins,
    fdinfo::memory_of,
    loader::{Loader, With},
    objects,
    record_limits::RecordLimits,
    records::{SHARED_ENTRIES, registers},
};

/// Name of the map of a matcher that holds the recorder.
const SLOT: &str = "RECORDER";
/// A recorder's own maps that have a size worth counting.
const OWN: [&str; 3] = ["RECORD_BITS", "RECORD_HOOKS", "RECORD_RATES"];

/// A recorder that is loaded.
pub(super) struct Recorder {
    program: LoadedProgram,
}

impl Recorder {
    /// Loads the recorder of a matcher with these tables, for a function to which a program is attached in this way.
    pub(super) fn load(
        node: &Node,
        limits: &RecordLimits,
        pins: &Pins,
        (loader, btf): (&mut Loader, &Btf),
        (symbol, by): (&str, AttachType),
        tables: &Tables,
    ) -> Result<Self, LoadError> {
        let object = objects::built(objects::RECORDER)?;
        let config = limits.config();
        let globals: &[(_, &[u8])] = &[
            ("LAYOUT", bytemuck::bytes_of(&node.layout)),
            ("CONFIG", bytemuck::bytes_of(&tables.config)),
            ("RECORDER_CONFIG", bytemuck::bytes_of(&config)),
        ];
        let size = |len: usize| u32::try_from(len.max(1)).unwrap_or(u32::MAX);
        let limited = tables.record_bits.iter().any(|bit| bit.rate != 0);
        let entries = [
            ("RECORD_BITS", size(tables.record_bits.len())),
            ("RECORD_HOOKS", size(tables.record_hooks.len())),
            ("RECORD_RATES", if limited { gatewatch_abi::record::consts::RATES } else { 1 }),
            ("DIRECT", size(tables.direct.len())),
            ("RECORDS", limits.ring_bytes),
        ];
        let entries: Vec<_> = entries.into_iter().chain(SHARED_ENTRIES).collect();
        let realtime = node.interruptible.realtime_guard();
        let mut ebpf = loader.load("recording", object, &With { globals, entries: &entries })?;
        let failed = |map| move |source| LoadError::Map { map, source };
        let mut bits = array::<RecordBit>(&mut ebpf, "RECORD_BITS")?;
        for (i, bit) in (0..).zip(&tables.record_bits) {
            bits.set(i, bit, 0).map_err(failed("RECORD_BITS"))?;
        }
        let mut hooks = array::<RecordHook>(&mut ebpf, "RECORD_HOOKS")?;
        for (i, hook) in (0..).zip(&tables.record_hooks) {
            hooks.set(i, placed(*hook, by, tables.config.params), 0).map_err(failed("RECORD_HOOKS"))?;
        }
        let mut direct = array::<u32>(&mut ebpf, "DIRECT")?;
        for (i, number) in (0..).zip(&tables.direct) {
            direct.set(i, number, 0).map_err(failed("DIRECT"))?;
        }
        drop(realtime);
        let program = LoadedProgram::load((ebpf, object), by.recorder(), by, symbol, btf, pins.dir())?;
        Ok(Self { program })
    }

    /// Puts it where the matcher of this object jumps to.
    pub(super) fn install(&self, matcher: &mut Ebpf) -> Result<(), LoadError> {
        let map = matcher.map_mut(SLOT).ok_or(LoadError::Missing(SLOT))?;
        let failed = |source| LoadError::Map { map: SLOT, source };
        let mut slot = ProgramArray::try_from(map).map_err(failed)?;
        slot.set(0, self.program.fd()?, 0).map_err(failed)
    }

    pub(super) fn verified_instructions(&self) -> Option<u32> {
        self.program.verified_instructions()
    }

    /// Bytes of the kernel's memory that it and its maps take.
    pub(super) fn memory(&self) -> u64 {
        let program = self.program.fd().map_or(0, memory_of);
        let maps = self.program.ebpf.maps().filter(|(name, _)| OWN.contains(name));
        let maps = maps.filter_map(|(_, map)| match map {
            Map::Array(data) | Map::LruHashMap(data) => Some(memory_of(data.fd())),
            _ => None,
        });
        program + maps.sum::<u64>()
    }
}

/// Replaces the numbers of arguments by their places in the context of a program that is attached in this way. `params` is the
/// number of the function's parameters.
fn placed(mut hook: RecordHook, by: AttachType, params: u32) -> RecordHook {
    for arg in hook.args.iter_mut().take(hook.count as usize) {
        let result = arg.offset == RESULT;
        if by.has_no_arguments() && !result {
            *arg = RecordArg { class: AS_NOTHING, ..*arg };
        }
        let place = |index: u32| match by {
            // Its fields have their offsets already.
            AttachType::Tracepoint => index,
            AttachType::Fentry | AttachType::Fexit | AttachType::RawTracepoint | AttachType::Lsm => {
                8 * if index == RESULT { params } else { index }
            }
            _ if index == RESULT => registers::RESULT,
            _ => registers::argument(index),
        };
        if arg.within == DIRECT {
            arg.offset = place(arg.offset);
            arg.beside = if arg.beside == DIRECT { DIRECT } else { place(arg.beside) };
        } else {
            // A system call's entry has one argument, the address of the caller's registers.
            let of_call = |index| registers::of_syscall(index, arg.half != 0);
            arg.offset = place(0);
            arg.within = of_call(arg.within);
            arg.beside = if arg.beside == DIRECT { DIRECT } else { of_call(arg.beside) };
        }
    }
    hook
}

#[cfg(test)]
mod tests {
    use gatewatch_abi::record::consts::{AS_BYTES, AS_NUMBER};

    use super::*;

    fn with(arg: RecordArg) -> RecordHook {
        let mut hook = RecordHook { count: 1, ..RecordHook::default() };
        hook.args[0] = arg;
        hook
    }

    #[test]
    fn arguments_are_where_the_program_is_given_them() {
        let number =
            RecordArg { class: AS_NUMBER, offset: 2, within: DIRECT, beside: DIRECT, ..Default::default() };
        assert_eq!(placed(with(number), AttachType::Fentry, 3).args[0].offset, 16);
        assert_eq!(placed(with(number), AttachType::Kprobe, 3).args[0].offset, registers::argument(2));
        let lost = placed(with(number), AttachType::Kretprobe, 3).args[0];
        assert_eq!(lost.class, AS_NOTHING);
        let result = RecordArg { offset: RESULT, ..number };
        assert_eq!(placed(with(result), AttachType::Fexit, 3).args[0].offset, 24);
        assert_eq!(placed(with(result), AttachType::Kretprobe, 3).args[0].offset, registers::RESULT);
    }

    #[test]
    fn a_system_call_has_its_arguments_in_the_callers_registers() {
        let bytes = RecordArg { class: AS_BYTES, offset: 1, within: 1, half: 0, beside: 2, user: 1 };
        let by_fentry = placed(with(bytes), AttachType::Fentry, 1).args[0];
        assert_eq!(by_fentry.offset, 0);
        assert_eq!(by_fentry.within, registers::of_syscall(1, false));
        assert_eq!(by_fentry.beside, registers::of_syscall(2, false));
        assert_eq!(placed(with(bytes), AttachType::Kprobe, 1).args[0].offset, registers::argument(0));
    }
}
