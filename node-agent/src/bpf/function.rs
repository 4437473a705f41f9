//! One lane of a kernel function: the program that is attached to it, and the matcher that it jumps to.

mod matcher;
mod program;
mod recorder;
mod tables;
mod verify;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use aya::{
    Btf,
    maps::{Array, Map, MapData, ProgramArray},
    programs::{ProgramFd, ProgramInfo, links::PinnedLink},
};
use gatewatch_abi::{
    Enforced,
    consts::{POINTS_BY_ADDRESS, POINTS_BY_COOKIE, UNWATCHED},
    unwatched_slot,
};
use gatewatch_policy::{
    match_tables::Tables,
    model::SECURITY_PREFIX,
    plan::{HookPoint, When},
};

pub use self::matcher::Prepared;
use self::program::{Link, LoadedProgram};
use super::{
    Lane, LoadError, Node,
    attach_object::AttachObject,
    attach_type::AttachType,
    bpffs::{self, Pins},
    fdinfo::memory_of,
    hook_name,
    loader::{Loader, With},
    maps::ignore_missing,
    symbols,
    uprobe::has_links,
};

/// Name of the map that holds the matcher.
const SLOT: &str = "MATCHER";
/// Name under which that map is pinned. Like the map's own name, it is the same for agents of every version.
const SLOT_PIN: &str = "matcher";
/// Name of the link.
const LINK_PIN: &str = "link";

/// Name of the map that holds the globals of the program on a function.
const GLOBALS: &str = ".bss";

/// The cgroups that no policy on a function watches, each at its slot.
type Unwatched = [u64; UNWATCHED];

/// A hooked function, for one of its lanes.
pub(super) struct Function {
    lane: Lane,
    symbol: String,
    by: AttachType,
    program: Arc<ProgramFd>,
    hold: Hold,
    slot: ProgramArray<MapData>,
    globals: Array<MapData, Unwatched>,
    globals_memory: u64,
    /// The contents of `globals`.
    unwatched: Box<Unwatched>,
    matcher: Option<Prepared>,
}

/// What keeps a program attached.
enum Hold {
    /// A folder in the bpf file system: it stays when we end.
    Kept(PathBuf),
    /// We do: dropping this takes the hook away.
    Ours(
        #[expect(dead_code, reason = "kept for its end")] Link,
        #[expect(dead_code, reason = "kept for its end")] Box<LoadedProgram>,
    ),
}

impl Function {
    /// Attaches to a function in the cheapest way that works and sees every call, else by a kprobe. Events pass until there
    /// is a matcher.
    pub(super) fn attach(
        node: &Node,
        object: &AttachObject,
        pins: &Pins,
        (loader, btf): (&mut Loader, &Btf),
        (lane, points): (&Lane, &[HookPoint]),
    ) -> Result<Self, LoadError> {
        if let Some(by) = only_way(&lane.point, btf) {
            if by == AttachType::Lsm
                && let Some(reason) = node.no_lsm
            {
                return Err(LoadError::NoLsm { hook: lane.point.name().to_owned(), reason });
            }
            return Self::attach_by(by, node, object, pins, (loader, btf), (lane, points));
        }
        if Lane::is_overriding(lane.number) {
            if let Some(reason) = node.no_lsm {
                return Err(LoadError::NoLsm { hook: lane.point.name().to_owned(), reason });
            }
            return Self::attach_by(AttachType::Lsm, node, object, pins, (loader, btf), (lane, points));
        }
        let when = lane.point.when();
        let one = lane.many.is_none();
        let cheaper = [
            (one && when == When::Entry && node.attach_types.fentry, AttachType::Fentry),
            (one && when == When::Entry && node.attach_types.fprobe, AttachType::Fprobe),
            (!one && when == When::Entry && node.attach_types.fprobe_many, AttachType::Fprobe),
            (one && when == When::Return && node.attach_types.fexit, AttachType::Fexit),
        ];
        for (_, by) in cheaper.into_iter().filter(|(allowed, _)| *allowed) {
            match Self::attach_by(by, node, object, pins, (&mut *loader, btf), (lane, points)) {
                Ok(function) => return Ok(function),
                Err(error) => {
                    if one {
                        tracing::debug!(hook = %lane, %error, "cannot attach by {}", by.name());
                    } else {
                        tracing::warn!(hook = %lane, functions = points.len(), %error, "cannot attach one program to all \
                            functions of a list; attaching a kprobe to each, which takes longer and ends with the agent");
                    }
                    if let Some(folder) = pins.hook(lane, by) {
                        bpffs::remove_all(&folder)
                            .map_err(|source| LoadError::Pins { path: folder, source })?;
                    }
                }
            }
        }
        let probe = match when {
            When::Entry => AttachType::Kprobe,
            When::Return => AttachType::Kretprobe,
        };
        Self::attach_by(probe, node, object, pins, (loader, btf), (lane, points))
    }

    fn attach_by(
        by: AttachType,
        node: &Node,
        object: &AttachObject,
        pins: &Pins,
        (loader, btf): (&mut Loader, &Btf),
        (lane, points): (&Lane, &[HookPoint]),
    ) -> Result<Self, LoadError> {
        let symbol = &target(&lane.point, by)?;
        let targets = points.iter().map(|point| target(point, by)).collect::<Result<Vec<_>, _>>()?;
        let symbols: Vec<&str> = targets.iter().map(String::as_str).collect();
        // Loading an object writes its globals, which are a map too.
        let realtime = node.interruptible.realtime_guard();
        let ebpf = loader.load("attaching", object.bytes(), &With::default())?;
        drop(realtime);
        let name = by.attached_program(object.is_typed());
        let mut program = LoadedProgram::load((ebpf, object.bytes()), name, by, symbol, btf, pins.dir())?;
        let map = program.ebpf.take_map(SLOT).ok_or(LoadError::Missing(SLOT))?;
        let globals = program.ebpf.take_map(GLOBALS).ok_or(LoadError::Missing(GLOBALS))?;
        let fd = program.another_fd()?;
        let folder = pins.hook(lane, by).filter(|_| pins.kept() && by.can_be_kept(symbols.len()));
        if let Some(folder) = &folder {
            let unusable = |source| LoadError::Pins { path: folder.clone(), source };
            let unpinned = |source| LoadError::Pin { path: folder.clone(), source };
            bpffs::remove_all(folder).map_err(unusable)?;
            fs::create_dir(folder).map_err(unusable)?;
            map.pin(folder.join(SLOT_PIN)).map_err(unpinned)?;
            globals.pin(folder.join("globals")).map_err(unpinned)?;
            program.pin(&folder.join("program"))?;
        }
        let link = program.attach(&symbols, folder.is_some())?;
        let hold = match folder {
            Some(folder) => {
                link.pin(&folder.join(LINK_PIN))?;
                Hold::Kept(folder)
            }
            None => Hold::Ours(link, Box::new(program)),
        };
        let (slot, (globals, globals_memory)) = (slot(map)?, array_of(globals)?);
        tracing::debug!(symbol, "attached by {}", by.name());
        Ok(Self {
            lane: lane.clone(),
            symbol: symbol.to_owned(),
            by,
            program: Arc::new(fd),
            hold,
            slot,
            globals,
            globals_memory,
            unwatched: Box::new([0; UNWATCHED]),
            matcher: None,
        })
    }

    /// The functions that an earlier agent hooked and that are hooked still. What it left half done goes.
    pub(super) fn adopt_all(pins: &Pins) -> Vec<(Lane, Self)> {
        let Ok(entries) = fs::read_dir(pins.hooks()) else { return Vec::new() };
        let mut adopted = Vec::new();
        for folder in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            match Self::adopt(&folder) {
                Ok(function) => adopted.push((function.lane.clone(), function)),
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
        let (lane, by) = hook_name::parse(&name).ok_or(LoadError::Missing("a hook of this name"))?;
        let point = &lane.point;
        let symbol = target(point, by)?;
        let failed = |source| LoadError::Program { program: by.name(), target: symbol.clone(), source };
        // It is the name that keeps the link, not the descriptor.
        PinnedLink::from_pin(folder.join(LINK_PIN))
            .map_err(|source| LoadError::Link { symbol: symbol.clone(), source })?;
        let program =
            ProgramInfo::from_pin(folder.join("program")).and_then(|info| info.fd()).map_err(failed)?;
        let map = |file: &str, name| {
            MapData::from_pin(folder.join(file))
                .and_then(Map::from_map_data)
                .map_err(|source| LoadError::Map { map: name, source })
        };
        let slot = slot(map(SLOT_PIN, SLOT)?)?;
        let (globals, globals_memory) = array_of(map("globals", GLOBALS)?)?;
        let unwatched =
            Box::new(globals.get(&0, 0).map_err(|source| LoadError::Map { map: GLOBALS, source })?);
        let hold = Hold::Kept(folder.to_owned());
        Ok(Self {
            lane,
            symbol,
            by,
            program: Arc::new(program),
            hold,
            slot,
            globals,
            globals_memory,
            unwatched,
            matcher: None,
        })
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

    /// Loads a matcher with these tables.
    pub(super) fn prepare(
        &self,
        node: &Node,
        pins: &Pins,
        load: (&mut Loader, &Btf),
        hash_key: u64,
        tables: (Tables, Vec<Enforced>),
    ) -> Result<Prepared, LoadError> {
        Prepared::load(node, pins, load, (&self.symbol, self.by), hash_key, tables)
    }

    /// Writes what the bits of the matcher in use may do.
    pub(super) fn set_enforced(&mut self, enforced: Vec<Enforced>) -> Result<(), LoadError> {
        match &mut self.matcher {
            Some(matcher) => matcher.set_enforced(enforced),
            None => Err(LoadError::NotAttached(self.symbol.clone())),
        }
    }

    /// Adds to the tables how the matcher finds out at which of these points it is.
    pub(super) fn number(&self, points: &[HookPoint], tables: &mut Tables) -> Result<(), LoadError> {
        if self.lane.many.is_none() {
            return Ok(());
        }
        if self.by == AttachType::Fprobe {
            tables.config.points = POINTS_BY_COOKIE;
            return Ok(());
        }
        tables.config.points = POINTS_BY_ADDRESS;
        let symbols: Vec<&str> = points.iter().filter_map(HookPoint::symbol).collect();
        tables.exact.extend(symbols::at_entry(&symbols)?);
        Ok(())
    }

    /// Lets events pass without a matcher, until one is installed.
    pub(super) fn pause(&mut self) -> Result<(), LoadError> {
        match self.slot.clear_index(&0) {
            Ok(()) => Ok(()),
            Err(error) => ignore_missing(Err(error), SLOT),
        }
    }

    /// Puts a matcher in the place of the one before, which goes when the last event has left it.
    pub(super) fn install(&mut self, prepared: Prepared) -> Result<(), LoadError> {
        let fd = prepared.program.fd()?;
        self.slot.set(0, fd, 0).map_err(|source| LoadError::Map { map: SLOT, source })?;
        self.matcher = Some(prepared);
        Ok(())
    }

    /// Writes one row of the matcher in use.
    pub(super) fn set_row(&mut self, row: u32, words: &[u64]) -> Result<(), LoadError> {
        match &mut self.matcher {
            Some(matcher) => matcher.set_row(row, words),
            None => Err(LoadError::NotAttached(self.symbol.clone())),
        }
    }

    /// Writes which cgroups the matcher can skip. Of two cgroups with the same slot, it skips one.
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

    /// The attached program.
    pub(super) fn program(&self) -> Arc<ProgramFd> {
        Arc::clone(&self.program)
    }

    /// Bytes of the kernel's memory that this function's programs and maps take.
    pub(super) fn memory(&self) -> u64 {
        let matcher = self.matcher.as_ref().map_or(0, Prepared::memory);
        memory_of(&self.program) + self.globals_memory + matcher
    }

    pub(super) fn verified_instructions(&self) -> Option<u32> {
        self.matcher.as_ref()?.program.verified_instructions()
    }

    pub(super) fn verified_for_records(&self) -> Option<u32> {
        self.matcher.as_ref()?.verified_for_records()
    }
}

/// The way to attach to a point that isn't a function.
fn only_way(point: &HookPoint, btf: &Btf) -> Option<AttachType> {
    Some(match point {
        HookPoint::Tracepoint { .. } => AttachType::Tracepoint,
        HookPoint::RawTracepoint { .. } => AttachType::RawTracepoint,
        HookPoint::Lsm { .. } => AttachType::Lsm,
        HookPoint::Uprobe { when, .. } => match (when, has_links(btf)) {
            (When::Entry, true) => AttachType::UprobeMulti,
            (When::Return, true) => AttachType::UretprobeMulti,
            (When::Entry, false) => AttachType::Uprobe,
            (When::Return, false) => AttachType::Uretprobe,
        },
        HookPoint::Function { .. } | HookPoint::Syscall { .. } | HookPoint::Usdt { .. } => return None,
    })
}

/// What a program is attached to, by the name that attaching takes.
fn target(point: &HookPoint, by: AttachType) -> Result<String, LoadError> {
    Ok(match point {
        // The LSM hook that the function calls.
        HookPoint::Function { symbol, .. } if by == AttachType::Lsm => {
            symbol.strip_prefix(SECURITY_PREFIX).unwrap_or(symbol).to_owned()
        }
        HookPoint::Function { symbol, .. } | HookPoint::Syscall { symbol, .. } => symbol.clone(),
        HookPoint::Tracepoint { subsystem, event } => format!("{subsystem}/{event}"),
        HookPoint::RawTracepoint { event, .. } => event.clone(),
        HookPoint::Lsm { hook } => hook.clone(),
        HookPoint::Uprobe { .. } => point.label(),
        HookPoint::Usdt { .. } => return Err(LoadError::NotInKernel(point.label())),
    })
}

/// The globals, and the kernel's memory that they take.
fn array_of(map: Map) -> Result<(Array<MapData, Unwatched>, u64), LoadError> {
    let memory = if let Map::Array(data) = &map { memory_of(data.fd()) } else { 0 };
    let globals = Array::try_from(map).map_err(|source| LoadError::Map { map: GLOBALS, source })?;
    Ok((globals, memory))
}

fn slot(map: Map) -> Result<ProgramArray<MapData>, LoadError> {
    ProgramArray::try_from(map).map_err(|source| LoadError::Map { map: SLOT, source })
}
