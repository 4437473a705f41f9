//! A profile as a file.
//!
//! Eight bytes `GWPROFIL`, one byte with the version of the format, and a zstd frame. The frame has numbers and text
//! in the format of [`wire`](super::wire): release, version, architecture, then each table column by column, so that
//! similar values are adjacent (a file is 300 to 500 KB). Names of functions store only the difference from the
//! previous one.

use std::io::Read;

use sha2::{Digest, Sha256};

use super::{
    Profile, Types,
    format::{FIRST, FormatError, MAGIC, UNPACKED, VERSION},
    functions::{Access, Entry, Functions, Names},
    saved::{Field, Row, Saved, Tracepoints},
    wire::{Reader, Writer},
};
use crate::{Arch, CType, Kind, Pointee};

/// Compression level of zstd. Higher levels take seconds and save a few per cent.
const LEVEL: i32 = 19;
/// Maximum window of zstd, as a power of two. More than [`UNPACKED`] is of no use.
const WINDOW_LOG: u32 = 24;
/// Maximum bytes of all function names together, because front coding could expand without bound.
const NAMES: usize = 16 << 20;

impl Profile {
    /// The profile as a file. The compression takes a second or two.
    ///
    /// The error comes from zstd. It fails only without memory.
    pub fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        self.to_bytes_at(LEVEL)
    }

    pub(super) fn to_bytes_at(&self, level: i32) -> std::io::Result<Vec<u8>> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.extend(zstd::bulk::compress(&self.body(), level)?);
        Ok(bytes)
    }

    /// Reads a file from [`to_bytes`](Self::to_bytes). All other bytes are an error. Memory is bounded.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let (version, packed) =
            bytes.strip_prefix(MAGIC).and_then(<[u8]>::split_first).ok_or(FormatError::NotAProfile)?;
        if !(FIRST..=VERSION).contains(version) {
            return Err(FormatError::Version(*version));
        }
        let mut body = Vec::new();
        let mut decoder = zstd::Decoder::with_buffer(packed).map_err(|_| FormatError::Damaged)?;
        decoder.window_log_max(WINDOW_LOG).map_err(|_| FormatError::Damaged)?;
        decoder.take(UNPACKED + 1).read_to_end(&mut body).map_err(|_| FormatError::Damaged)?;
        if body.len() as u64 > UNPACKED {
            return Err(FormatError::TooLarge);
        }
        read_profile(&mut Reader::new(&body), *version)
    }

    /// SHA-256 of the contents, in hexadecimal. It depends only on the kernel, not on how the profile was created.
    pub fn hash(&self) -> String {
        use std::fmt::Write as _;
        Sha256::digest(self.body()).iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    pub(super) fn body(&self) -> Vec<u8> {
        let Self { release, version, arch, functions, types: _ } = self;
        let Functions { names, entries, overrides_known } = functions;
        let saved = self.saved();
        let Saved {
            types,
            idents,
            prototypes,
            functions,
            syscalls,
            enums,
            fields,
            tracepoints,
            raw_tracepoints,
        } = saved.as_ref();
        let mut out = Writer::default();
        out.text(release);
        out.text(version);
        out.text(arch.name());
        out.count(types.len());
        for ty in types {
            out.text(&ty.text);
        }
        for ty in types {
            write_kind(&mut out, &ty.kind);
        }
        out.count(idents.len());
        for ident in idents {
            out.text(ident);
        }
        out.count(prototypes.len());
        for prototype in prototypes {
            out.number(prototype.ret.into());
            out.number((prototype.params.len() as u64) << 1 | u64::from(prototype.variadic));
        }
        for (_, ty) in prototypes.iter().flat_map(|prototype| &prototype.params) {
            out.number((*ty).into());
        }
        for (name, _) in prototypes.iter().flat_map(|prototype| &prototype.params) {
            out.number((*name).into());
        }
        write_names(&mut out, names);
        for prototype in functions {
            out.number(prototype.map_or(0, |index| u64::from(index) + 1));
        }
        for entry in entries {
            out.number(entry.access as u64 | u64::from(entry.overridable) << 3);
        }
        for entry in entries {
            out.number(entry.symbols.into());
        }
        out.number((*overrides_known).into());
        out.count(syscalls.len());
        for (name, prototype) in syscalls {
            out.text(name);
            out.number((*prototype).into());
        }
        out.count(enums.len());
        for (name, constants) in enums {
            out.text(name);
            out.count(constants.len());
            for (name, value) in constants {
                out.text(name);
                out.signed(*value);
            }
        }
        out.count(fields.len());
        for (name, offset) in fields {
            out.text(name);
            out.number((*offset).into());
        }
        write_tracepoints(&mut out, tracepoints.as_ref());
        out.count(raw_tracepoints.len());
        for (event, prototype) in raw_tracepoints {
            out.text(event);
            out.number((*prototype).into());
        }
        out.0
    }
}

fn read_profile(input: &mut Reader<'_>, format: u8) -> Result<Profile, FormatError> {
    let release = input.text()?.to_owned();
    let version = input.text()?.to_owned();
    let arch = Arch::from_name(input.text()?).ok_or(FormatError::Damaged)?;
    let texts = input.list(|input| input.text().map(str::to_owned))?;
    let mut types = Vec::with_capacity(texts.len());
    for text in texts {
        types.push(CType { text, kind: read_kind(input)? });
    }
    let idents = input.list(|input| input.text().map(Box::from))?;
    let prototypes = read_prototypes(input)?;
    let names = read_names(input)?;
    let mut functions = Vec::with_capacity(names.len());
    for _ in 0..names.len() {
        functions.push(input.small()?.checked_sub(1));
    }
    let mut entries = Vec::with_capacity(names.len());
    for _ in 0..names.len() {
        let bits = input.byte()?;
        let access = *Access::ALL.get(usize::from(bits & 7)).ok_or(FormatError::Damaged)?;
        entries.push(Entry { access, symbols: 0, overridable: bits >> 3 == 1 });
    }
    for entry in &mut entries {
        entry.symbols = u16::try_from(input.small()?).map_err(|_| FormatError::Damaged)?;
    }
    let overrides_known = input.byte()? == 1;
    let syscalls = input.list(|input| Ok((Box::from(input.text()?), input.small()?)))?;
    let enums = input.list(|input| {
        let name = Box::from(input.text()?);
        Ok((name, input.list(|input| Ok((Box::from(input.text()?), input.signed()?)))?))
    })?;
    let fields = input.list(|input| Ok((Box::from(input.text()?), input.small()?)))?;
    let (mut tracepoints, mut raw_tracepoints) = (None, Vec::new());
    if format != FIRST {
        tracepoints = read_tracepoints(input)?;
        raw_tracepoints = input.list(|input| Ok((Box::from(input.text()?), input.small()?)))?;
    }
    let saved =
        Saved { types, idents, prototypes, functions, syscalls, enums, fields, tracepoints, raw_tracepoints };
    let functions = Functions { names, entries, overrides_known };
    if !input.is_at_end() || !saved.is_sound(&functions) {
        return Err(FormatError::Damaged);
    }
    Ok(Profile { release, version, arch, functions, types: Types::Saved(Box::new(saved)) })
}

fn read_prototypes(input: &mut Reader<'_>) -> Result<Vec<Row>, FormatError> {
    let heads = input.list(|input| Ok((input.small()?, input.number()?)))?;
    let mut prototypes = Vec::with_capacity(heads.len());
    for (ret, count) in heads {
        let types = input.items(count >> 1, |input| Ok((0, input.small()?)))?;
        prototypes.push(Row { ret, params: types.into(), variadic: count & 1 == 1 });
    }
    for (name, _) in prototypes.iter_mut().flat_map(|prototype| &mut prototype.params) {
        *name = input.small()?;
    }
    Ok(prototypes)
}

/// For each name: the length of the prefix it shares with the previous one, and the rest.
fn write_names(out: &mut Writer, names: &Names) {
    out.count(names.len());
    let mut before = "";
    for name in names.iter() {
        let mut common = before.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        while !name.is_char_boundary(common) {
            common -= 1;
        }
        out.count(common);
        out.text(&name[common..]);
        before = name;
    }
}

fn read_names(input: &mut Reader<'_>) -> Result<Names, FormatError> {
    let mut names = Names::default();
    let mut name = String::new();
    let mut total = 0;
    let count = input.number()?;
    input.items(count, |input| {
        let common = usize::try_from(input.number()?).map_err(|_| FormatError::Damaged)?;
        if common > name.len() || !name.is_char_boundary(common) {
            return Err(FormatError::Damaged);
        }
        name.truncate(common);
        name.push_str(input.text()?);
        total += name.len();
        if total > NAMES {
            return Err(FormatError::TooLarge);
        }
        names.push(&name);
        Ok(())
    })?;
    Ok(names)
}

fn write_tracepoints(out: &mut Writer, tracepoints: Option<&Tracepoints>) {
    out.number(tracepoints.is_some().into());
    let tracepoints = tracepoints.map_or(&[][..], Vec::as_slice);
    out.count(tracepoints.len());
    for (name, fields) in tracepoints {
        out.text(name);
        out.count(fields.len());
    }
    let fields = || tracepoints.iter().flat_map(|(_, fields)| fields);
    for field in fields() {
        out.number(field.name.into());
    }
    for field in fields() {
        out.number(u64::from(field.ty) << 1 | u64::from(field.signed));
    }
    for field in fields() {
        out.number(field.offset.into());
        out.number(field.size.into());
    }
}

fn read_tracepoints(input: &mut Reader<'_>) -> Result<Option<Tracepoints>, FormatError> {
    let known = input.byte()? == 1;
    let heads = input.list(|input| Ok((Box::from(input.text()?), input.number()?)))?;
    let total = heads.iter().try_fold(0_u64, |sum, (_, count)| sum.checked_add(*count));
    let mut fields = input.items(total.ok_or(FormatError::Damaged)?, |input| {
        Ok(Field { name: input.small()?, ty: 0, offset: 0, size: 0, signed: false })
    })?;
    for field in &mut fields {
        let bits = input.number()?;
        field.ty = u32::try_from(bits >> 1).map_err(|_| FormatError::Damaged)?;
        field.signed = bits & 1 == 1;
    }
    for field in &mut fields {
        (field.offset, field.size) = (input.small()?, input.small()?);
    }
    let mut fields = fields.into_iter();
    let tracepoints = heads.into_iter().map(|(name, count)| {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        (name, fields.by_ref().take(count).collect())
    });
    let tracepoints = tracepoints.collect();
    Ok(known.then_some(tracepoints))
}

fn write_kind(out: &mut Writer, kind: &Kind) {
    let mut tag = |tag: u8| out.0.push(tag);
    match kind {
        Kind::Void => tag(0),
        Kind::Bool => tag(1),
        Kind::Other => tag(2),
        Kind::Int { bits, signed } => {
            tag(3);
            write_int(out, *bits, *signed);
        }
        Kind::Enum { name, bits } => {
            tag(4);
            out.text(name);
            out.number((*bits).into());
        }
        Kind::Struct { name, size } => {
            tag(5);
            out.text(name);
            out.number((*size).into());
        }
        Kind::Union { name, size } => {
            tag(6);
            out.text(name);
            out.number((*size).into());
        }
        Kind::Pointer(Pointee::Void) => tag(7),
        Kind::Pointer(Pointee::Char) => tag(8),
        Kind::Pointer(Pointee::Function) => tag(9),
        Kind::Pointer(Pointee::Other) => tag(10),
        Kind::Pointer(Pointee::Int { bits, signed }) => {
            tag(11);
            write_int(out, *bits, *signed);
        }
        Kind::Pointer(Pointee::Struct(name)) => {
            tag(12);
            out.text(name);
        }
        Kind::Pointer(Pointee::Union(name)) => {
            tag(13);
            out.text(name);
        }
    }
}

fn read_kind(input: &mut Reader<'_>) -> Result<Kind, FormatError> {
    Ok(match input.byte()? {
        0 => Kind::Void,
        1 => Kind::Bool,
        2 => Kind::Other,
        3 => {
            let (bits, signed) = read_int(input)?;
            Kind::Int { bits, signed }
        }
        4 => Kind::Enum { name: input.text()?.to_owned(), bits: read_bits(input)? },
        5 => Kind::Struct { name: input.text()?.to_owned(), size: input.small()? },
        6 => Kind::Union { name: input.text()?.to_owned(), size: input.small()? },
        7 => Kind::Pointer(Pointee::Void),
        8 => Kind::Pointer(Pointee::Char),
        9 => Kind::Pointer(Pointee::Function),
        10 => Kind::Pointer(Pointee::Other),
        11 => {
            let (bits, signed) = read_int(input)?;
            Kind::Pointer(Pointee::Int { bits, signed })
        }
        12 => Kind::Pointer(Pointee::Struct(input.text()?.to_owned())),
        13 => Kind::Pointer(Pointee::Union(input.text()?.to_owned())),
        _ => return Err(FormatError::Damaged),
    })
}

fn write_int(out: &mut Writer, bits: u8, signed: bool) {
    out.number(bits.into());
    out.0.push(signed.into());
}

fn read_int(input: &mut Reader<'_>) -> Result<(u8, bool), FormatError> {
    Ok((read_bits(input)?, input.byte()? == 1))
}

fn read_bits(input: &mut Reader<'_>) -> Result<u8, FormatError> {
    u8::try_from(input.small()?).map_err(|_| FormatError::Damaged)
}
