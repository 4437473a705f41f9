//! Programs for links of the types `BPF_TRACE_KPROBE_MULTI` (fprobe) and `BPF_TRACE_UPROBE_MULTI`, which aya doesn't load: it
//! has none that say beforehand that they will be attached so, and the kernel asks for that. What an object needs before it
//! can be loaded is done by aya's own parser, as aya's loader does it.

use std::{
    collections::HashSet,
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd},
};

use aya::{
    Ebpf, EbpfError,
    maps::{Map, MapData},
    programs::ProgramError,
};
use aya_obj::{Object, VerifierLog, generated::bpf_attach_type};

use super::{LoadError, objects, syscall};

/// Room for what the verifier says of a program that it rejects; the end is kept where it says more.
const LOG: usize = 1 << 16;

/// Loads the program `name` of an object for links of one of these types. `ebpf`: the same object, with its maps in the kernel.
pub(super) fn load(
    ebpf: &Ebpf,
    object: &[u8],
    name: &'static str,
    symbol: &str,
    links: bpf_attach_type,
) -> Result<OwnedFd, LoadError> {
    let unfit = |source| LoadError::Object { object: name, source };
    let features = aya::features();
    let mut object = Object::parse(object).map_err(|error| unfit(EbpfError::from(error)))?;
    let types = match features.btf() {
        Some(features) => {
            object.fixup_and_sanitize_btf(features).map_err(|error| unfit(EbpfError::from(error)))?
        }
        None => None,
    };
    let types = types.map(|types| syscall::load_types(&types.to_bytes())).transpose();
    let failed = |source| LoadError::Program { program: name, target: symbol.to_owned(), source };
    let types = types.map_err(|error| failed(ProgramError::IOError(error)))?;
    let maps: Vec<(String, RawFd, aya_obj::Map)> = object
        .maps
        .drain()
        .filter_map(|(name, map)| {
            let fd = data(ebpf.map(&name)?)?.fd().as_fd().as_raw_fd();
            Some((name, fd, map))
        })
        .collect();
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    object
        .relocate_maps(maps.iter().map(|(name, fd, map)| (name.as_str(), *fd, map)), &sections)
        .map_err(|error| unfit(EbpfError::from(error)))?;
    object.relocate_calls(&sections).map_err(|error| unfit(EbpfError::from(error)))?;
    object.sanitize_functions(features);
    let program = object.programs.get(name).ok_or(LoadError::Missing(name))?;
    let function = object.functions.get(&program.function_key()).ok_or(LoadError::Missing(name))?;
    let load = |log: &mut [u8]| {
        syscall::load_for_multi(name, program, function, links, types.as_ref().map(AsFd::as_fd), log)
    };
    // The log takes time, so it is asked for only where there is something to read in it.
    load(&mut []).or_else(|_| {
        let mut log = vec![0; LOG];
        load(&mut log).map_err(|io_error| {
            let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
            let verifier_log = VerifierLog::new(String::from_utf8_lossy(&log[..end]).into_owned());
            failed(ProgramError::LoadError { io_error, verifier_log })
        })
    })
}

/// The program that does nothing.
const EMPTY: &str = "empty_kprobe";

/// Loads a program that does nothing, for links of one of these types.
pub(super) fn load_empty(symbol: &str, links: bpf_attach_type) -> Result<OwnedFd, LoadError> {
    let object = objects::built(objects::ATTACH)?;
    let ebpf = Ebpf::load(object).map_err(|source| LoadError::Object { object: "attaching", source })?;
    load(&ebpf, object, EMPTY, symbol, links)
}

/// Attaches a program that does nothing by fprobe, the floor that benches measure against, until what this gives is dropped.
pub fn empty_fprobe(symbol: &str) -> Result<OwnedFd, LoadError> {
    let program = load_empty(symbol, bpf_attach_type::BPF_TRACE_KPROBE_MULTI)?;
    let failed = |error| LoadError::Program {
        program: EMPTY,
        target: symbol.to_owned(),
        source: ProgramError::IOError(error),
    };
    let name = CString::new(symbol).map_err(|error| failed(io::Error::other(error)))?;
    syscall::attach_by_fprobe(program.as_fd(), &[name]).map_err(failed)
}

/// The map in the kernel, of the types that our objects have.
const fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LpmTrie(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::ProgramArray(data)
        | Map::Queue(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}
