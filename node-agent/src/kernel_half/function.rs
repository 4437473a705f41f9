//! One kernel function: the program that sits on it, and the classifier that it jumps to.

mod tables;

use std::{
    fs,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::{Path, PathBuf},
};

use aya::{
    Btf, Ebpf,
    maps::{Array, Map, MapData, ProgramArray},
    programs::{
        FEntry, FExit, KProbe, Program, ProgramError, ProgramFd, ProgramInfo,
        links::{FdLink, PinnedLink},
    },
};
use gatewatch_abi::consts::{ADDR_NONE, INT_ARG, INT_SOCK, TEXT_BINARY, TEXT_NONE, UNWATCHED};
use gatewatch_abi::unwatched_slot;
use gatewatch_policy::classify::Tables;

use self::tables::{OWN, fill, write_rows};
use super::{
    LoadError, Node, Site, bpffs,
    bpffs::Pins,
    loader::{Loader, With},
    objects,
    stub::Stub,
};

/// Name of the map that holds the classifier.
const SLOT: &str = "CLASSIFIER";

/// Name of the map that holds the globals of the program on a function.
const GLOBALS: &str = ".bss";

/// The cgroups that no policy on a function watches, each at its slot.
type Unwatched = [u64; UNWATCHED];

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

    /// The program that sits on the function.
    const fn stub(self, typed: bool) -> &'static str {
        match self {
            Self::Fentry if typed => "attach_fentry",
            Self::Fexit if typed => "attach_fexit",
            Self::Fentry => "attach_fentry_by_helper",
            Self::Fexit => "attach_fexit_by_helper",
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

    /// Whether this kernel can keep such a hook when the process that made it ends. Perf's probes have links since 5.15.
    fn can_be_kept(self) -> bool {
        // Where perf has no such device, probes are made by the tracing file system, and have no links either.
        self.is_trampoline()
            || (aya::features().bpf_perf_link()
                && Path::new("/sys/bus/event_source/devices/kprobe/type").exists())
    }

    const fn on_return(self) -> bool {
        matches!(self, Self::Fexit | Self::Kretprobe)
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
    in_pairs: bool,
}

/// A hooked function.
pub(super) struct Function {
    symbol: String,
    by: By,
    program: ProgramFd,
    hold: Hold,
    slot: ProgramArray<MapData>,
    globals: Array<MapData, Unwatched>,
    globals_memory: u64,
    /// What stands in `globals`.
    unwatched: Box<Unwatched>,
    classifier: Option<Prepared>,
}

/// What keeps a program attached.
enum Hold {
    /// A folder in the bpf file system: it stays when we end.
    Kept(PathBuf),
    /// We do: dropping this takes the hook away.
    Ours(#[expect(dead_code, reason = "kept for its end")] Ebpf),
}

impl Function {
    /// Attaches to a function: by a trampoline where that works, else by a kprobe. Events pass until there is a
    /// classifier.
    pub(super) fn attach(
        node: &Node,
        stub: &Stub,
        pins: &Pins,
        (loader, btf): (&mut Loader, &Btf),
        site: &Site,
    ) -> Result<Self, LoadError> {
        let (symbol, on_return) = site;
        let (allowed, trampoline, probe) = if *on_return {
            (node.trampolines.exit, By::Fexit, By::Kretprobe)
        } else {
            (node.trampolines.entry, By::Fentry, By::Kprobe)
        };
        if allowed {
            match Self::attach_by(trampoline, node, stub, pins, (&mut *loader, btf), symbol) {
                Ok(function) => return Ok(function),
                Err(error) => tracing::debug!(symbol, %error, "no trampoline; trying a kprobe"),
            }
        }
        Self::attach_by(probe, node, stub, pins, (loader, btf), symbol)
    }

    fn attach_by(
        by: By,
        node: &Node,
        stub: &Stub,
        pins: &Pins,
        (loader, btf): (&mut Loader, &Btf),
        symbol: &str,
    ) -> Result<Self, LoadError> {
        let name = by.stub(stub.is_typed());
        // Loading an object writes its globals, which are a map too.
        let undisturbed = node.interruptible.undisturbed();
        let mut stub = loader.load("attaching", stub.object(), &With::default())?;
        drop(undisturbed);
        let failed = |source| LoadError::Program { program: name, target: symbol.to_owned(), source };
        let map = stub.take_map(SLOT).ok_or(LoadError::Missing(SLOT))?;
        let globals = stub.take_map(GLOBALS).ok_or(LoadError::Missing(GLOBALS))?;
        let program = stub.program_mut(name).ok_or(LoadError::Missing(name))?;
        load(program, by, symbol, btf).map_err(failed)?;
        let fd = program_fd(program).and_then(|fd| Ok(fd.try_clone()?)).map_err(failed)?;
        let folder = (pins.kept() && by.can_be_kept()).then(|| folder(pins, symbol, by));
        if let Some(folder) = &folder {
            let unusable = |source| LoadError::Pins { path: folder.clone(), source };
            let unpinned = |source| LoadError::Pin { path: folder.clone(), source };
            bpffs::remove_all(folder).map_err(unusable)?;
            fs::create_dir(folder).map_err(unusable)?;
            map.pin(folder.join("classifier")).map_err(unpinned)?;
            globals.pin(folder.join("globals")).map_err(unpinned)?;
            program.pin(folder.join("program")).map_err(unpinned)?;
        }
        let link = attach(program, name, symbol, folder.is_some())?;
        let hold = match (folder, link) {
            (Some(folder), Some(link)) => {
                let path = folder.join("link");
                link.pin(&path).map_err(|source| LoadError::Pin { path, source })?;
                Hold::Kept(folder)
            }
            _ => Hold::Ours(stub),
        };
        let (slot, (globals, globals_memory)) = (slot(map)?, array_of(globals)?);
        Ok(Self {
            symbol: symbol.to_owned(),
            by,
            program: fd,
            hold,
            slot,
            globals,
            globals_memory,
            unwatched: Box::new([0; UNWATCHED]),
            classifier: None,
        })
    }

    /// The functions that an earlier agent hooked and that are hooked still. What it left half done goes.
    pub(super) fn adopt_all(pins: &Pins) -> Vec<(Site, Self)> {
        let Ok(entries) = fs::read_dir(pins.dir().join("sites")) else { return Vec::new() };
        let mut adopted = Vec::new();
        for folder in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            match Self::adopt(&folder) {
                Ok(function) => {
                    adopted.push(((function.symbol.clone(), function.by.on_return()), function));
                }
                Err(error) => {
                    tracing::warn!("cannot continue with the hook {}: {error}", folder.display());
                    if let Err(error) = bpffs::remove_all(&folder) {
                        tracing::warn!("cannot remove {}: {error}", folder.display());
                    }
                }
            }
        }
        adopted
    }

    fn adopt(folder: &Path) -> Result<Self, LoadError> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let (symbol, by) = parse_name(&name).ok_or(LoadError::Missing("a hook of this name"))?;
        let failed = |source| LoadError::Program { program: by.name(), target: symbol.clone(), source };
        // It is the name that keeps the link, not the descriptor.
        PinnedLink::from_pin(folder.join("link"))
            .map_err(|source| LoadError::Link { symbol: symbol.clone(), source })?;
        let program =
            ProgramInfo::from_pin(folder.join("program")).and_then(|info| info.fd()).map_err(failed)?;
        let map = |file: &str, name| {
            MapData::from_pin(folder.join(file))
                .and_then(Map::from_map_data)
                .map_err(|source| LoadError::Map { map: name, source })
        };
        let slot = slot(map("classifier", SLOT)?)?;
        let (globals, globals_memory) = array_of(map("globals", GLOBALS)?)?;
        let unwatched =
            Box::new(globals.get(&0, 0).map_err(|source| LoadError::Map { map: GLOBALS, source })?);
        let hold = Hold::Kept(folder.to_owned());
        Ok(Self { symbol, by, program, hold, slot, globals, globals_memory, unwatched, classifier: None })
    }

    /// Takes the hook away.
    pub(super) fn remove(self) {
        if let Hold::Kept(folder) = &self.hold
            && let Err(error) = bpffs::remove_all(folder)
        {
            tracing::warn!("cannot remove the hook {}: {error}", folder.display());
        }
    }

    /// Whether the hook stays when we end.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self.hold, Hold::Kept(_))
    }

    /// Loads a classifier with these tables.
    pub(super) fn prepare(
        &self,
        node: &Node,
        (loader, btf): (&mut Loader, &Btf),
        hash_key: u64,
        mut tables: Tables,
    ) -> Result<Prepared, LoadError> {
        if self.by == By::Kretprobe && looks_at_arguments(&tables) {
            return Err(LoadError::ArgumentsOnReturn(self.symbol.clone()));
        }
        // The program of a kprobe can't be interrupted by another task.
        tables.spec.remember = u32::from(!self.by.is_trampoline() || !node.interruptible.is_so());
        let object = objects::classifier(&tables.spec)?;
        // As in `attach_by`.
        let undisturbed = node.interruptible.undisturbed();
        let in_pairs = objects::in_pairs(&tables.spec);
        let size = |len: usize| u32::try_from(len.max(1)).unwrap_or(u32::MAX);
        let globals: &[(_, &[u8])] =
            &[("LAYOUT", bytemuck::bytes_of(&node.layout)), ("SPEC", bytemuck::bytes_of(&tables.spec))];
        let entries = &[
            ("ROWS", size(if in_pairs { 0 } else { tables.rows.len() })),
            ("PAIRS", size(if in_pairs { tables.rows.len() / 2 } else { 0 })),
            ("ACTIONS", size(tables.actions.len())),
            ("EXACT", size(tables.exact.len())),
            ("DIRECT", size(tables.direct.len())),
            ("BREAKS", size(tables.breaks.len())),
            ("BINARY_ROWS", size(tables.binaries.len())),
            ("PREFIX", size(tables.prefixes.len())),
            ("POSTFIX", size(tables.postfixes.len())),
            ("ADDRESSES", size(tables.addresses.len())),
        ];
        let mut ebpf = loader.load("classifying", object, &With { globals, entries })?;
        fill(&mut ebpf, &tables, hash_key)?;
        drop(undisturbed);
        let name = self.by.classifier();
        let program = ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
        load(program, self.by, &self.symbol, btf).map_err(|source| LoadError::Program {
            program: name,
            target: self.symbol.clone(),
            source,
        })?;
        Ok(Prepared { ebpf, words: tables.spec.words as usize, in_pairs })
    }

    /// Puts a classifier in the place of the one before, which goes when the last event has left it.
    pub(super) fn install(&mut self, mut prepared: Prepared) -> Result<(), LoadError> {
        let name = self.by.classifier();
        let program = prepared.ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
        let fd = program_fd(program).map_err(|source| LoadError::Program {
            program: name,
            target: self.symbol.clone(),
            source,
        })?;
        self.slot.set(0, fd, 0).map_err(|source| LoadError::Map { map: SLOT, source })?;
        self.classifier = Some(prepared);
        Ok(())
    }

    /// Writes one row of the classifier in use.
    pub(super) fn set_row(&mut self, row: u32, words: &[u64]) -> Result<(), LoadError> {
        let Some(classifier) = &mut self.classifier else {
            return Err(LoadError::NotAttached(self.symbol.clone()));
        };
        let first_word = row * u32::try_from(classifier.words).unwrap_or(1);
        write_rows(&mut classifier.ebpf, first_word, words, classifier.in_pairs)
    }

    /// Says which cgroups the classifier needn't look at. Where two stand at the same place, it looks at one of them.
    pub(super) fn set_unwatched(&mut self, cgroups: impl Iterator<Item = u64>) -> Result<(), LoadError> {
        let mut unwatched = Box::new([0; UNWATCHED]);
        for cgroup in cgroups {
            unwatched[unwatched_slot(cgroup)] = cgroup;
        }
        if unwatched != self.unwatched {
            self.globals.set(0, *unwatched, 0).map_err(|source| LoadError::Map { map: GLOBALS, source })?;
            self.unwatched = unwatched;
        }
        Ok(())
    }

    pub(super) fn attached_by(&self) -> &'static str {
        self.by.name()
    }

    /// Reads what the kernel says of the attached program: `recursion_misses` in its fdinfo
    /// (kernel/bpf/syscall.c, `bpf_prog_show_fdinfo`; 5.12 and later).
    pub(super) fn missed(&self) -> Missed {
        let path = format!("/proc/self/fdinfo/{}", self.program.as_fd().as_raw_fd());
        let text = fs::read_to_string(path).unwrap_or_default();
        let recursion = text
            .lines()
            .find_map(|line| line.strip_prefix("recursion_misses:"))
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(0);
        Missed { recursion }
    }

    /// Bytes of the kernel's memory that this function's programs and maps take.
    pub(super) fn memory(&self) -> u64 {
        let map_bytes = |map: &MapData| memory_of(map.fd().as_fd());
        let own = memory_of(self.program.as_fd());
        let classifier = self.classifier.as_ref().map_or(0, |classifier| {
            let program = classifier
                .ebpf
                .program(self.by.classifier())
                .and_then(|program| program_fd(program).ok())
                .map_or(0, |fd| memory_of(fd.as_fd()));
            let maps = classifier.ebpf.maps().filter(|(name, _)| OWN.contains(name));
            let maps = maps.filter_map(|(_, map)| match map {
                Map::Array(data) | Map::HashMap(data) | Map::LpmTrie(data) => Some(map_bytes(data)),
                _ => None,
            });
            program + maps.sum::<u64>()
        });
        own + self.globals_memory + classifier
    }

    pub(super) fn verified_instructions(&self) -> Option<u32> {
        let program = self.classifier.as_ref()?.ebpf.program(self.by.classifier())?;
        program.info().ok()?.verified_instruction_count()
    }
}

/// Attaches a loaded program of this name; gives the link if it is to be kept, which it then must be able to.
fn attach(
    program: &mut Program,
    name: &'static str,
    symbol: &str,
    kept: bool,
) -> Result<Option<FdLink>, LoadError> {
    let failed = |source| LoadError::Program { program: name, target: symbol.to_owned(), source };
    let link = match program {
        Program::FEntry(program) => {
            let id = program.attach().map_err(failed)?;
            kept.then(|| program.take_link(id)).transpose().map_err(failed)?.map(FdLink::from)
        }
        Program::FExit(program) => {
            let id = program.attach().map_err(failed)?;
            kept.then(|| program.take_link(id)).transpose().map_err(failed)?.map(FdLink::from)
        }
        Program::KProbe(program) => {
            let id = program.attach(symbol, 0).map_err(failed)?;
            let link = kept.then(|| program.take_link(id)).transpose().map_err(failed)?;
            let unkept = |source| LoadError::Link { symbol: symbol.to_owned(), source };
            link.map(FdLink::try_from).transpose().map_err(unkept)?
        }
        _ => return Err(LoadError::Missing(name)),
    };
    Ok(link)
}

/// The globals, and the kernel's memory that they take.
fn array_of(map: Map) -> Result<(Array<MapData, Unwatched>, u64), LoadError> {
    let memory = if let Map::Array(data) = &map { memory_of(data.fd().as_fd()) } else { 0 };
    let globals = Array::try_from(map).map_err(|source| LoadError::Map { map: GLOBALS, source })?;
    Ok((globals, memory))
}

fn slot(map: Map) -> Result<ProgramArray<MapData>, LoadError> {
    ProgramArray::try_from(map).map_err(|source| LoadError::Map { map: SLOT, source })
}

/// The folder of a hook. Names can't have a point there, and symbols have no tilde.
fn folder(pins: &Pins, symbol: &str, by: By) -> PathBuf {
    pins.dir().join("sites").join(format!("{}~{}", symbol.replace('.', "~~"), by.name()))
}

/// What a folder's name says.
fn parse_name(name: &str) -> Option<(String, By)> {
    let (symbol, by) = name.rsplit_once('~')?;
    let by = [By::Fentry, By::Fexit, By::Kprobe, By::Kretprobe].into_iter().find(|one| one.name() == by)?;
    Some((symbol.replace("~~", "."), by))
}

/// What the kernel says of the memory of a program or a map.
fn memory_of(fd: BorrowedFd<'_>) -> u64 {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{By, folder, parse_name};
    use crate::kernel_half::bpffs::Pins;

    #[test]
    fn a_folder_names_its_hook() {
        let pins = Pins::for_test(Path::new("/x"));
        for (symbol, by) in [("__sys_setuid", By::Fentry), ("foo.isra.0", By::Kretprobe)] {
            let folder = folder(&pins, symbol, by);
            let name = folder.file_name().unwrap().to_str().unwrap();
            assert!(!name.contains('.'), "{name}");
            assert_eq!(parse_name(name), Some((symbol.to_owned(), by)));
        }
        assert_eq!(parse_name("x~nothing"), None);
    }
}
