//! From a place in a program to an offset in its file. The file can be one of an attacker: what is read of it is bounded.

use std::{
    cell::Cell,
    fs::File,
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use gatewatch_policy::{compile::SymbolName, plan::ProgramAddress};
use object::{
    Object as _, ObjectSegment as _, ObjectSymbol as _, ReadCache, ReadRef, SegmentFlags, SymbolFlags,
    elf::{PF_X, STB_LOCAL, STT_FUNC},
};
use rustix::fs::{CWD, Mode, OFlags, openat};

/// The most bytes that are read of a file: the largest symbol tables of the programs in use are a few dozen mebibytes.
const MOST: u64 = 96 << 20;
/// Bytes that are kept with each string that was read, about.
const KEPT_WITH_TEXT: u64 = 64;

/// Why a program has no such place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    /// It isn't a program.
    #[error("it is not an ELF file: {0}")]
    NotElf(String),
    /// Its tables are too large.
    #[error("its symbol tables are larger than {} MiB", MOST >> 20)]
    TooLarge,
    /// It has no such symbol.
    #[error("it has no function `{0}` in its symbol tables")]
    NoSymbol(String),
    /// The offset is outside of the function.
    #[error("the function `{name}` has {size} bytes, so `+{offset}` is outside of it")]
    Outside {
        /// The function.
        name: String,
        /// Its length.
        size: u64,
        /// The offset.
        offset: u64,
    },
    /// No part of the program that can be executed has this address.
    #[error("no executable segment has the address {0:#x}")]
    NotExecutable(u64),
}

/// The offset in a program's file of a place in it.
pub(super) fn offset_of(file: File, at: &ProgramAddress) -> Result<u64, Problem> {
    let cache = ReadCache::new(file);
    let left = Cell::new(MOST);
    find(Bounded { cache: &cache, left: &left }, at).map_err(|problem| match problem {
        Problem::NotElf(_) | Problem::NoSymbol(_) | Problem::NotExecutable(_) if left.get() == 0 => {
            Problem::TooLarge
        }
        other => other,
    })
}

fn find<'a>(data: impl ReadRef<'a>, at: &ProgramAddress) -> Result<u64, Problem> {
    let parsed = || object::File::parse(data).map_err(|error| Problem::NotElf(error.to_string()));
    match at {
        // The kernel compares it with the file's length.
        ProgramAddress::Offset(offset) => Ok(*offset),
        ProgramAddress::Address(address) => in_file(&parsed()?, *address),
        ProgramAddress::Symbol(written) => {
            let program = parsed()?;
            let missing = || Problem::NoSymbol(written.clone());
            let SymbolName { name, offset } = SymbolName::parse(written).ok_or_else(missing)?;
            let (address, size) = function(&program, name.as_bytes()).ok_or_else(missing)?;
            if offset > 0 && offset >= size {
                return Err(Problem::Outside { name: name.to_owned(), size, offset });
            }
            in_file(&program, address.checked_add(offset).ok_or_else(missing)?)
        }
    }
}

/// Address and length of a function: of those with this name, one that other objects see, else the first.
fn function<'a, R: ReadRef<'a>>(program: &object::File<'a, R>, name: &[u8]) -> Option<(u64, u64)> {
    let mut local = None;
    for symbol in program.symbols().chain(program.dynamic_symbols()) {
        let SymbolFlags::Elf { st_info, .. } = symbol.flags() else { continue };
        let is_function = st_info & 0xf == STT_FUNC && symbol.address() != 0 && !symbol.is_undefined();
        if !is_function || symbol.name_bytes().ok() != Some(name) {
            continue;
        }
        let found = (symbol.address(), symbol.size());
        if st_info >> 4 != STB_LOCAL {
            return Some(found);
        }
        local.get_or_insert(found);
    }
    local
}

/// Where an address is in the file, by the segments that are executed.
fn in_file<'a, R: ReadRef<'a>>(program: &object::File<'a, R>, address: u64) -> Result<u64, Problem> {
    let executable = |flags| matches!(flags, SegmentFlags::Elf { p_flags } if p_flags & PF_X != 0);
    program
        .segments()
        .filter(|segment| executable(segment.flags()))
        .find_map(|segment| {
            let (offset, size) = segment.file_range();
            let inside = address.checked_sub(segment.address()).filter(|inside| *inside < size)?;
            offset.checked_add(inside)
        })
        .ok_or(Problem::NotExecutable(address))
}

/// A file of which no more than so many bytes are read.
#[derive(Clone, Copy)]
struct Bounded<'a> {
    cache: &'a ReadCache<File>,
    left: &'a Cell<u64>,
}

impl Bounded<'_> {
    fn take(self, size: u64) -> Result<(), ()> {
        let left = self.left.get().checked_sub(size);
        self.left.set(left.unwrap_or_default());
        left.map(drop).ok_or(())
    }
}

impl<'a> ReadRef<'a> for Bounded<'a> {
    fn len(self) -> Result<u64, ()> {
        self.cache.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        // Before the memory for it is taken.
        let end = offset.checked_add(size).ok_or(())?;
        if end > self.cache.len()? {
            return Err(());
        }
        self.take(size)?;
        self.cache.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: std::ops::Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        // No more than 4 KiB at once, which the cache keeps for each beginning.
        let text = self.cache.read_bytes_at_until(range, delimiter)?;
        self.take(KEPT_WITH_TEXT + u64::try_from(text.len()).map_err(drop)?)?;
        Ok(text)
    }
}

/// Opens a file to read it, by a descriptor that is open as a path alone. It doesn't wait until a program gives up a lease.
pub(super) fn reopen(file: BorrowedFd<'_>) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?.into())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::fd::AsFd as _};

    use super::*;

    fn symbol(name: &str) -> ProgramAddress {
        ProgramAddress::Symbol(name.to_owned())
    }

    fn own() -> File {
        File::open("/proc/self/exe").unwrap()
    }

    #[allow(unsafe_code, reason = "it needs a symbol of its name")]
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn gatewatch_place_to_find(number: u64) -> u64 {
        std::hint::black_box(number) + 1
    }

    #[test]
    fn a_function_of_this_program() {
        assert_eq!(gatewatch_place_to_find(1), 2);
        let offset = offset_of(own(), &symbol("gatewatch_place_to_find")).unwrap();
        let bytes = fs::read("/proc/self/exe").unwrap();
        let code = (gatewatch_place_to_find as *const ()).cast::<u8>();
        // SAFETY: a function has a byte at least.
        #[allow(unsafe_code, reason = "what is in the file is compared with what runs")]
        let first = unsafe { *code };
        assert_eq!(bytes[usize::try_from(offset).unwrap()], first);
        let next = offset_of(own(), &symbol("gatewatch_place_to_find+0x1")).unwrap();
        assert_eq!(next, offset + 1);
        let outside = offset_of(own(), &symbol("gatewatch_place_to_find+100000")).unwrap_err();
        assert!(outside.to_string().contains("outside"), "{outside}");
        assert_eq!(offset_of(own(), &ProgramAddress::Offset(7)), Ok(7));
    }

    #[test]
    fn what_is_not_there() {
        let missing = offset_of(own(), &symbol("gatewatch_nothing")).unwrap_err();
        assert_eq!(missing, Problem::NoSymbol("gatewatch_nothing".to_owned()));
        let address = ProgramAddress::Address(u64::MAX);
        assert_eq!(offset_of(own(), &address), Err(Problem::NotExecutable(u64::MAX)));
        let text = tempfile::NamedTempFile::new().unwrap();
        fs::write(text.path(), "#!/bin/sh\n").unwrap();
        assert!(matches!(offset_of(text.reopen().unwrap(), &symbol("x")), Err(Problem::NotElf(_))));
        let path = File::open(text.path()).unwrap();
        assert!(reopen(path.as_fd()).is_ok());
    }

    #[test]
    fn no_more_is_read_than_is_allowed() {
        // A copy of this program whose symbols' table says that it has a gibibyte, in a file that is as long.
        use object::elf::{FileHeader64, SectionHeader64};
        let mut bytes = fs::read("/proc/self/exe").unwrap();
        let header: &FileHeader64<object::Endianness> = object::pod::from_bytes(&bytes).unwrap().0;
        let little = object::Endianness::Little;
        let sections = usize::try_from(header.e_shoff.get(little)).unwrap();
        let each = size_of::<SectionHeader64<object::Endianness>>();
        for at in (0..usize::from(header.e_shnum.get(little))).map(|i| sections + i * each) {
            // SHT_SYMTAB and SHT_STRTAB
            let kind = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
            if kind == 2 {
                bytes[at + 24..at + 32].copy_from_slice(&0_u64.to_le_bytes());
                bytes[at + 32..at + 40].copy_from_slice(&(24_u64 << 25).to_le_bytes());
            }
        }
        let large = tempfile::NamedTempFile::new().unwrap();
        fs::write(large.path(), &bytes).unwrap();
        large.as_file().set_len(1 << 31).unwrap();
        assert_eq!(offset_of(large.reopen().unwrap(), &symbol("gatewatch_nothing")), Err(Problem::TooLarge));
    }
}
