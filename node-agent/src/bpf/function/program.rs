//! A program of an object, loaded for one function, and attached to it.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use aya::{
    Btf, Ebpf,
    programs::{
        FEntry, FExit, KProbe, Lsm, ProbeKind, Program, ProgramError, ProgramFd, RawTracePoint, TracePoint,
        links::FdLink,
    },
};

use crate::bpf::{LoadError, attach_type::AttachType, multi, syscall};

/// A program in the kernel.
pub(super) struct LoadedProgram {
    name: &'static str,
    symbol: String,
    by: AttachType,
    /// The object that it is from, with its maps.
    pub(super) ebpf: Ebpf,
    /// The program, where it isn't the object's: aya can't load those for links of many functions.
    own: Option<Program>,
}

/// What keeps a program attached.
pub(super) enum Link {
    /// A link of aya's.
    Aya(FdLink),
    /// One of our own.
    Own(OwnedFd),
    /// The program itself: it is detached when that is dropped.
    Program,
}

impl LoadedProgram {
    /// Loads the program `name`. `object` is what `ebpf` was made of; in `folder` it may have a name for a moment.
    pub(super) fn load(
        (mut ebpf, object): (Ebpf, &[u8]),
        name: &'static str,
        by: AttachType,
        symbol: &str,
        btf: &Btf,
        folder: &Path,
    ) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Program { program: name, target: symbol.to_owned(), source };
        if let Some(links) = by.links() {
            let fd = multi::load(&ebpf, object, name, symbol, links)?;
            let own = Some(Program::KProbe(adopt(&fd, &folder.join("loading")).map_err(failed)?));
            return Ok(Self { name, symbol: symbol.to_owned(), by, ebpf, own });
        }
        let program = ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
        match by {
            AttachType::Fentry => <&mut FEntry>::try_from(program)
                .and_then(|program| program.load(symbol, btf))
                .map_err(failed)?,
            AttachType::Fexit => <&mut FExit>::try_from(program)
                .and_then(|program| program.load(symbol, btf))
                .map_err(failed)?,
            AttachType::Kprobe | AttachType::Kretprobe | AttachType::Uprobe | AttachType::Uretprobe => {
                <&mut KProbe>::try_from(program).and_then(KProbe::load).map_err(failed)?;
            }
            AttachType::Tracepoint => {
                <&mut TracePoint>::try_from(program).and_then(TracePoint::load).map_err(failed)?;
            }
            AttachType::RawTracepoint => {
                <&mut RawTracePoint>::try_from(program).and_then(RawTracePoint::load).map_err(failed)?;
            }
            AttachType::Lsm => {
                <&mut Lsm>::try_from(program)
                    .and_then(|program| program.load(symbol, btf))
                    .map_err(failed)?;
            }
            AttachType::Fprobe | AttachType::UprobeMulti | AttachType::UretprobeMulti => {}
        }
        Ok(Self { name, symbol: symbol.to_owned(), by, ebpf, own: None })
    }

    fn program(&self) -> Result<&Program, LoadError> {
        self.own.as_ref().or_else(|| self.ebpf.program(self.name)).ok_or(LoadError::Missing(self.name))
    }

    fn program_mut(&mut self) -> Result<&mut Program, LoadError> {
        let named = || LoadError::Missing(self.name);
        match &mut self.own {
            Some(program) => Ok(program),
            None => self.ebpf.program_mut(self.name).ok_or_else(named),
        }
    }

    fn failed(&self, source: ProgramError) -> LoadError {
        LoadError::Program { program: self.name, target: self.symbol.clone(), source }
    }

    pub(super) fn fd(&self) -> Result<&ProgramFd, LoadError> {
        let fd = match self.program()? {
            Program::FEntry(program) => program.fd(),
            Program::FExit(program) => program.fd(),
            Program::KProbe(program) => program.fd(),
            Program::TracePoint(program) => program.fd(),
            Program::RawTracePoint(program) => program.fd(),
            Program::Lsm(program) => program.fd(),
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        fd.map_err(|source| self.failed(source))
    }

    /// Another descriptor of it.
    pub(super) fn another_fd(&self) -> Result<ProgramFd, LoadError> {
        self.fd()?.try_clone().map_err(|error| self.failed(error.into()))
    }

    pub(super) fn pin(&mut self, path: &Path) -> Result<(), LoadError> {
        let unpinned = |source| LoadError::Pin { path: path.to_owned(), source };
        self.program_mut()?.pin(path).map_err(unpinned)
    }

    /// Number of instructions that the verifier processed.
    pub(super) fn verified_instructions(&self) -> Option<u32> {
        self.program().ok()?.info().ok()?.verified_instruction_count()
    }

    /// Attaches it to these functions, of which only fprobe and kprobes take several. `kept`: the link is to be pinned, which
    /// it then must be able to.
    pub(super) fn attach(&mut self, symbols: &[&str], kept: bool) -> Result<Link, LoadError> {
        if self.by == AttachType::Fprobe {
            let symbols = symbols.iter().map(|symbol| CString::new(*symbol)).collect::<Result<Vec<_>, _>>();
            let symbols =
                symbols.map_err(|error| self.failed(ProgramError::IOError(io::Error::other(error))))?;
            return syscall::attach_by_fprobe(self.fd()?.as_fd(), &symbols)
                .map(Link::Own)
                .map_err(|error| self.failed(ProgramError::IOError(error)));
        }
        if self.by.is_at_files() {
            return Ok(Link::Program);
        }
        if symbols.len() > 1 {
            return self.attach_to_each(symbols);
        }
        let (name, symbol) = (self.name, self.symbol.clone());
        let failed = |source| LoadError::Program { program: name, target: symbol.clone(), source };
        let unkept = |source| LoadError::Link { symbol: symbol.clone(), source };
        // The links of aya's programs have types of their own.
        macro_rules! link {
            ($program:ident, $id:expr) => {{
                let id = $id.map_err(failed)?;
                kept.then(|| $program.take_link(id)).transpose().map_err(failed)?
            }};
        }
        let link: Option<FdLink> = match self.program_mut()? {
            Program::FEntry(program) => link!(program, program.attach()).map(Into::into),
            Program::FExit(program) => link!(program, program.attach()).map(Into::into),
            Program::Lsm(program) => link!(program, program.attach()).map(Into::into),
            Program::RawTracePoint(program) => link!(program, program.attach(&symbol)).map(Into::into),
            Program::KProbe(program) => link!(program, program.attach(&symbol, 0))
                .map(FdLink::try_from)
                .transpose()
                .map_err(unkept)?,
            Program::TracePoint(program) => {
                let (subsystem, event) = symbol.split_once('/').ok_or(LoadError::Missing(name))?;
                let link = link!(program, program.attach(subsystem, event));
                link.map(FdLink::try_from).transpose().map_err(unkept)?
            }
            _ => return Err(LoadError::Missing(name)),
        };
        Ok(link.map_or(Link::Program, Link::Aya))
    }

    /// Attaches a kprobe's program to each of these functions, as long as it is there itself.
    fn attach_to_each(&mut self, symbols: &[&str]) -> Result<Link, LoadError> {
        let name = self.name;
        let Program::KProbe(program) = self.program_mut()? else { return Err(LoadError::Missing(name)) };
        for symbol in symbols {
            let failed = |source| LoadError::Program { program: name, target: (*symbol).to_owned(), source };
            program.attach(symbol, 0).map_err(failed)?;
        }
        Ok(Link::Program)
    }
}

impl Link {
    /// Gives it a name, by which it stays when this process ends.
    pub(super) fn pin(self, path: &Path) -> Result<(), LoadError> {
        let unpinned = |source| LoadError::Pin { path: path.to_owned(), source };
        match self {
            Self::Aya(link) => link.pin(path).map(drop).map_err(unpinned),
            Self::Own(link) => syscall::pin(link.as_fd(), path)
                .map_err(|source| LoadError::Pins { path: path.to_owned(), source }),
            Self::Program => Err(LoadError::Missing("link that can be kept")),
        }
    }
}

/// A program that we have loaded ourselves, as one of aya's, which it can only be by a name.
fn adopt(program: &OwnedFd, path: &Path) -> Result<KProbe, ProgramError> {
    // An agent that ended just then has left it.
    let _ = fs::remove_file(path);
    syscall::pin(program.as_fd(), path)?;
    let adopted = KProbe::from_pin(path, ProbeKind::Entry);
    fs::remove_file(path)?;
    adopted
}
