//! One kernel function: the program that sits on it, and the classifier that it jumps to.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
};

use aya::{
    Btf, Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, LpmTrie, ProgramArray, lpm_trie::Key},
    programs::{FEntry, FExit, KProbe, Program, ProgramError, ProgramFd},
};
use gatewatch_abi::{
    AddrKey, BitAction, ExactKey, TextKey, binary_id,
    consts::{
        ADDR_NONE, INT_ARG, INT_SOCK, TEXT_BINARY, TEXT_BYTES, TEXT_FILE, TEXT_HAS_POSTFIX, TEXT_NONE,
        TEXT_PATH,
    },
};
use gatewatch_kernel::D_PATH_FUNCTIONS;
use gatewatch_policy::classify::Tables;

use super::{LoadError, Node, Site, objects};

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Fentry,
    Fexit,
    Kprobe,
    Kretprobe,
}

impl By {
    const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
        }
    }

    const fn stub(self) -> &'static str {
        match self {
            Self::Fentry => "attach_fentry",
            Self::Fexit => "attach_fexit",
            Self::Kprobe => "attach_kprobe",
            Self::Kretprobe => "attach_kretprobe",
        }
    }

    const fn classifier(self) -> &'static str {
        match self {
            Self::Fentry => "classify_fentry",
            Self::Fexit => "classify_fexit",
            Self::Kprobe | Self::Kretprobe => "classify_kprobe",
        }
    }

    const fn is_trampoline(self) -> bool {
        matches!(self, Self::Fentry | Self::Fexit)
    }
}

/// Events that a program did not see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// The program was running on that CPU already, in a task that had been interrupted.
    pub recursion: u64,
}

/// A classifier that is loaded and not in use yet.
pub struct Prepared {
    ebpf: Ebpf,
    words: usize,
}

/// A hooked function. Dropping it takes the hook away.
pub(super) struct Function {
    symbol: String,
    by: By,
    stub: Ebpf,
    classifier: Option<Prepared>,
}

impl Function {
    /// Attaches to a function: by a trampoline where that works, else by a kprobe. Events pass until there is a
    /// classifier.
    pub(super) fn attach(node: &Node, btf: &Btf, site: &Site) -> Result<Self, LoadError> {
        let (symbol, on_return) = site;
        let (allowed, trampoline, probe) = if *on_return {
            (node.trampolines.exit, By::Fexit, By::Kretprobe)
        } else {
            (node.trampolines.entry, By::Fentry, By::Kprobe)
        };
        if allowed {
            match Self::attach_by(trampoline, btf, symbol) {
                Ok(function) => return Ok(function),
                Err(error) => tracing::debug!(symbol, %error, "no trampoline; trying a kprobe"),
            }
        }
        Self::attach_by(probe, btf, symbol)
    }

    fn attach_by(by: By, btf: &Btf, symbol: &str) -> Result<Self, LoadError> {
        let mut stub = EbpfLoader::new()
            .load(objects::built(objects::ATTACH)?)
            .map_err(|source| LoadError::Object { object: "attaching", source })?;
        let name = by.stub();
        let failed = |source| LoadError::Program { program: name, target: symbol.to_owned(), source };
        let program = stub.program_mut(name).ok_or(LoadError::Missing(name))?;
        load(program, by, symbol, btf).map_err(failed)?;
        match program {
            Program::FEntry(program) => program.attach().map(drop),
            Program::FExit(program) => program.attach().map(drop),
            Program::KProbe(program) => program.attach(symbol, 0).map(drop),
            _ => return Err(LoadError::Missing(name)),
        }
        .map_err(failed)?;
        Ok(Self { symbol: symbol.to_owned(), by, stub, classifier: None })
    }

    /// Loads a classifier with these tables.
    pub(super) fn prepare(
        &self,
        node: &Node,
        btf: &Btf,
        hash_key: u64,
        mut tables: Tables,
    ) -> Result<Prepared, LoadError> {
        if self.by == By::Kretprobe && looks_at_arguments(&tables) {
            return Err(LoadError::ArgumentsOnReturn(self.symbol.clone()));
        }
        self.choose_path_reading(&mut tables);
        let object = if tables.spec.words == 1 { objects::CLASSIFY } else { objects::CLASSIFY_WIDE };
        // Loading an object writes its `.rodata`, which is a map too.
        let undisturbed = node.interruptible.undisturbed();
        let size = |len: usize| u32::try_from(len.max(1)).unwrap_or(u32::MAX);
        let mut ebpf = EbpfLoader::new()
            .default_map_pin_directory(&node.pins)
            .override_global("LAYOUT", bytemuck::bytes_of(&node.layout), true)
            .override_global("SPEC", bytemuck::bytes_of(&tables.spec), true)
            .map_max_entries("ROWS", size(tables.rows.len()))
            .map_max_entries("ACTIONS", size(tables.actions.len()))
            .map_max_entries("EXACT", size(tables.exact.len()))
            .map_max_entries("BREAKS", size(tables.breaks.len()))
            .map_max_entries("BINARY_ROWS", size(tables.binaries.len()))
            .map_max_entries("PREFIX", size(tables.prefixes.len()))
            .map_max_entries("POSTFIX", size(tables.postfixes.len()))
            .map_max_entries("ADDRESSES", size(tables.addresses.len()))
            .load(objects::built(object)?)
            .map_err(|source| LoadError::Object { object: "classifying", source })?;
        fill(&mut ebpf, &tables, hash_key)?;
        drop(undisturbed);
        let name = self.by.classifier();
        let program = ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
        load(program, self.by, &self.symbol, btf).map_err(|source| LoadError::Program {
            program: name,
            target: self.symbol.clone(),
            source,
        })?;
        Ok(Prepared { ebpf, words: tables.spec.words as usize })
    }

    /// `bpf_d_path` costs half as much as walking the path by hand. It can be called for typed arguments of some
    /// functions only, and it appends " (deleted)" to the path of a file that is unlinked: so only where nothing
    /// looks at the path's end.
    fn choose_path_reading(&self, tables: &mut Tables) {
        if !self.by.is_trampoline() || !D_PATH_FUNCTIONS.contains(&self.symbol.as_str()) {
            return;
        }
        for (i, slot) in (0_u8..).zip(&mut tables.spec.texts) {
            let whole = tables.prefixes.iter().any(|(of, bytes, _)| *of == i && bytes.ends_with(b"\0"));
            let end = whole || slot.tables & TEXT_HAS_POSTFIX != 0;
            slot.d_path = u32::from(matches!(slot.source, TEXT_FILE | TEXT_PATH) && !end);
        }
    }

    /// Puts a classifier in the place of the one before, which goes when the last event has left it.
    pub(super) fn install(&mut self, mut prepared: Prepared) -> Result<(), LoadError> {
        const MAP: &str = "CLASSIFIER";
        let map = self.stub.map_mut(MAP).ok_or(LoadError::Missing(MAP))?;
        let failed = |source| LoadError::Map { map: MAP, source };
        let mut array = ProgramArray::try_from(map).map_err(failed)?;
        let name = self.by.classifier();
        let program = prepared.ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
        let fd = program_fd(program).map_err(|source| LoadError::Program {
            program: name,
            target: self.symbol.clone(),
            source,
        })?;
        array.set(0, fd, 0).map_err(failed)?;
        self.classifier = Some(prepared);
        Ok(())
    }

    /// Writes one row of the classifier in use.
    pub(super) fn set_row(&mut self, row: u32, words: &[u64]) -> Result<(), LoadError> {
        let Some(classifier) = &mut self.classifier else {
            return Err(LoadError::NotAttached(self.symbol.clone()));
        };
        let first = row * u32::try_from(classifier.words).unwrap_or(1);
        let mut rows = array::<u64>(&mut classifier.ebpf, "ROWS")?;
        for (index, word) in (first..).zip(words) {
            rows.set(index, word, 0).map_err(|source| LoadError::Map { map: "ROWS", source })?;
        }
        Ok(())
    }

    pub(super) fn attached_by(&self) -> &'static str {
        self.by.name()
    }

    /// Reads what the kernel says of the attached program: `recursion_misses` in its fdinfo
    /// (kernel/bpf/syscall.c, `bpf_prog_show_fdinfo`; 5.12 and later).
    pub(super) fn missed(&self) -> Missed {
        let fd = self.stub.program(self.by.stub()).and_then(|program| match program {
            Program::FEntry(program) => program.fd().ok(),
            Program::FExit(program) => program.fd().ok(),
            Program::KProbe(program) => program.fd().ok(),
            _ => None,
        });
        let Some(fd) = fd else { return Missed::default() };
        let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
        let text = fs::read_to_string(path).unwrap_or_default();
        let recursion = text
            .lines()
            .find_map(|line| line.strip_prefix("recursion_misses:"))
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(0);
        Missed { recursion }
    }

    pub(super) fn verified_instructions(&self) -> Option<u32> {
        let program = self.classifier.as_ref()?.ebpf.program(self.by.classifier())?;
        program.info().ok()?.verified_instruction_count()
    }
}

fn looks_at_arguments(tables: &Tables) -> bool {
    let spec = &tables.spec;
    spec.ints.iter().any(|slot| matches!(slot.source, INT_ARG | INT_SOCK))
        || spec.texts.iter().any(|slot| !matches!(slot.source, TEXT_NONE | TEXT_BINARY))
        || spec.addrs.iter().any(|slot| slot.source != ADDR_NONE)
}

fn load(program: &mut Program, by: By, symbol: &str, btf: &Btf) -> Result<(), ProgramError> {
    match by {
        By::Fentry => <&mut FEntry>::try_from(program)?.load(symbol, btf),
        By::Fexit => <&mut FExit>::try_from(program)?.load(symbol, btf),
        By::Kprobe | By::Kretprobe => <&mut KProbe>::try_from(program)?.load(),
    }
}

fn program_fd(program: &Program) -> Result<&ProgramFd, ProgramError> {
    match program {
        Program::FEntry(program) => program.fd(),
        Program::FExit(program) => program.fd(),
        Program::KProbe(program) => program.fd(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn array<'a, V: Pod>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<Array<&'a mut aya::maps::MapData, V>, LoadError> {
    let map = ebpf.map_mut(name).ok_or(LoadError::Missing(name))?;
    Array::try_from(map).map_err(|source| LoadError::Map { map: name, source })
}

fn hash<'a, K: Pod, V: Pod>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<HashMap<&'a mut aya::maps::MapData, K, V>, LoadError> {
    let map = ebpf.map_mut(name).ok_or(LoadError::Missing(name))?;
    HashMap::try_from(map).map_err(|source| LoadError::Map { map: name, source })
}

fn trie<'a, K: Pod>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<LpmTrie<&'a mut aya::maps::MapData, K, u32>, LoadError> {
    let map = ebpf.map_mut(name).ok_or(LoadError::Missing(name))?;
    LpmTrie::try_from(map).map_err(|source| LoadError::Map { map: name, source })
}

/// Writes the tables into the classifier's own maps.
fn fill(ebpf: &mut Ebpf, tables: &Tables, hash_key: u64) -> Result<(), LoadError> {
    let failed = |map| move |source| LoadError::Map { map, source };
    let mut rows = array::<u64>(ebpf, "ROWS")?;
    for (i, word) in (0..).zip(&tables.rows) {
        rows.set(i, word, 0).map_err(failed("ROWS"))?;
    }
    let mut actions = array::<BitAction>(ebpf, "ACTIONS")?;
    for (i, action) in (0..).zip(&tables.actions) {
        actions.set(i, action, 0).map_err(failed("ACTIONS"))?;
    }
    let mut exact = hash::<ExactKey, u32>(ebpf, "EXACT")?;
    for (key, row) in &tables.exact {
        exact.insert(key, row, 0).map_err(failed("EXACT"))?;
    }
    let mut breaks = array::<[u64; 2]>(ebpf, "BREAKS")?;
    for (i, point) in (0..).zip(&tables.breaks) {
        breaks.set(i, point, 0).map_err(failed("BREAKS"))?;
    }
    let mut binaries = hash::<u64, u32>(ebpf, "BINARY_ROWS")?;
    for (path, row) in &tables.binaries {
        binaries.insert(binary_id(hash_key, path), row, 0).map_err(failed("BINARY_ROWS"))?;
    }
    for (name, entries) in [("PREFIX", &tables.prefixes), ("POSTFIX", &tables.postfixes)] {
        let mut trie = trie::<TextKey>(ebpf, name)?;
        for (slot, bytes, row) in entries {
            let mut text = [0; TEXT_BYTES];
            text[..bytes.len()].copy_from_slice(bytes);
            let bits = u32::try_from(8 * (bytes.len() + 1)).unwrap_or(0);
            trie.insert(&Key::new(bits, TextKey { slot: *slot, text }), row, 0).map_err(failed(name))?;
        }
    }
    let mut addresses = trie::<AddrKey>(ebpf, "ADDRESSES")?;
    for (slot, network, row) in &tables.addresses {
        let key = AddrKey { slot: *slot, address: network.address };
        addresses
            .insert(&Key::new(32 + u32::from(network.prefix), key), row, 0)
            .map_err(failed("ADDRESSES"))?;
    }
    Ok(())
}
