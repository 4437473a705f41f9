//! Decodes all types that functions have, each once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
};

use super::{
    functions::Functions,
    live::{ENUMS, Live},
    saved::{Constants, Field, Row, Saved, Tracepoints},
};
use crate::{Arch, CType, Kind, Param, btf::RawPrototype, text};

/// Builds the tables of a profile. They are equal for the same kernel: rows are in the order of first use, and functions
/// in the order of their names.
pub(super) fn save(live: &Live, functions: &Functions, arch: Arch) -> Saved {
    let mut builder = Builder::new(live);
    let prototypes = functions.names.iter().map(|name| builder.prototype(name)).collect();
    let syscalls = builder.syscalls(functions, arch);
    let enums = builder.enums();
    let fields: BTreeMap<String, u32> = live.fields().collect();
    let tracepoints = builder.tracepoints(functions);
    let raw_tracepoints = builder.raw_tracepoints(tracepoints.as_deref().unwrap_or_default());
    Saved {
        types: builder.types.rows,
        idents: builder.idents.rows,
        prototypes: builder.rows.rows,
        functions: prototypes,
        syscalls,
        enums,
        fields: fields.into_iter().map(|(name, offset)| (name.into(), offset)).collect(),
        tracepoints,
        raw_tracepoints,
    }
}

/// Distinct rows in the order of first use.
struct Table<T> {
    rows: Vec<T>,
    places: HashMap<T, u32>,
}

impl<T: Clone + Eq + Hash> Table<T> {
    fn new() -> Self {
        Self { rows: Vec::new(), places: HashMap::new() }
    }

    fn index_of(&mut self, row: T) -> u32 {
        if let Some(place) = self.places.get(&row) {
            return *place;
        }
        let place = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        self.rows.push(row.clone());
        self.places.insert(row, place);
        place
    }
}

struct Builder<'a> {
    live: &'a Live,
    types: Table<CType>,
    /// By type id in BTF: the index in `types`. Most ids are used many times.
    seen: HashMap<u32, u32>,
    idents: Table<Box<str>>,
    rows: Table<Row>,
    enums: BTreeSet<String>,
}

impl<'a> Builder<'a> {
    fn new(live: &'a Live) -> Self {
        Self {
            live,
            types: Table::new(),
            seen: HashMap::new(),
            idents: Table::new(),
            rows: Table::new(),
            enums: ENUMS.into_iter().map(str::to_owned).collect(),
        }
    }

    fn type_id(&mut self, id: u32) -> u32 {
        if let Some(place) = self.seen.get(&id) {
            return *place;
        }
        let place = self.ctype(self.live.types.ctype(id));
        self.seen.insert(id, place);
        place
    }

    fn ctype(&mut self, ty: CType) -> u32 {
        if let Kind::Enum { name, .. } = &ty.kind
            && !name.is_empty()
        {
            self.enums.insert(name.clone());
        }
        self.types.index_of(ty)
    }

    fn prototype(&mut self, name: &str) -> Option<u32> {
        let raw = self.live.types.raw_prototype(name)?;
        Some(self.row(raw))
    }

    fn row(&mut self, raw: RawPrototype<'_>) -> u32 {
        let params = raw
            .params
            .into_iter()
            .map(|(name, ty)| (self.idents.index_of(name.into()), self.type_id(ty)))
            .collect();
        let ret = self.type_id(raw.ret);
        self.rows.index_of(Row { ret, params, variadic: raw.variadic })
    }

    fn syscalls(&mut self, functions: &Functions, arch: Arch) -> Vec<(Box<str>, u32)> {
        let live = self.live;
        let mut formats = text::syscall_formats(&live.formats);
        let names = functions.names.iter().filter_map(|name| name.strip_prefix(arch.syscall_prefix()));
        let mut syscalls = Vec::new();
        for name in names.filter(|name| name.starts_with("sys_")) {
            let params = match formats.remove(name) {
                Some(params) => params
                    .into_iter()
                    .map(|(ty, name)| Param { name: name.to_owned(), ty: live.types.parse_ctype(ty) })
                    .collect(),
                None => match live.syscall_params(name) {
                    Some(params) => params,
                    None => continue,
                },
            };
            let params = params
                .into_iter()
                .map(|param| (self.idents.index_of(param.name.into()), self.ctype(param.ty)))
                .collect();
            let ret = self.ctype(live.types.parse_ctype("long"));
            syscalls.push((name.into(), self.rows.index_of(Row { ret, params, variadic: false })));
        }
        syscalls
    }

    /// The tracepoints of the kernel itself. Those of modules depend on what is loaded: with them, no two nodes would have
    /// equal profiles. Each of the others has a function of its own (`DECLARE_TRACE`, include/linux/tracepoint.h), except in
    /// two subsystems.
    fn tracepoints(&mut self, functions: &Functions) -> Option<Tracepoints> {
        let live = self.live;
        let is_built_in = |name: &&String| {
            name.split_once('/').is_some_and(|(subsystem, event)| {
                matches!(subsystem, "syscalls" | "ftrace")
                    || functions.names.find(&format!("__traceiter_{event}")).is_some()
            })
        };
        let all = live.events.as_ref()?.iter().filter(is_built_in);
        let all = all.filter_map(|name| Some((name, live.tracepoint(name)?)));
        let mut tracepoints = Vec::new();
        for (name, format) in all {
            let fields = text::tracepoint_fields(&format).into_iter().map(|field| Field {
                name: self.idents.index_of(field.name.into()),
                ty: self.idents.index_of(field.ty.into()),
                offset: field.offset,
                size: field.size,
                signed: field.signed,
            });
            tracepoints.push((name.as_str().into(), fields.collect()));
        }
        Some(tracepoints)
    }

    fn raw_tracepoints(&mut self, tracepoints: &[(Box<str>, Box<[Field]>)]) -> Vec<(Box<str>, u32)> {
        let events: BTreeSet<&str> =
            tracepoints.iter().filter_map(|(name, _)| name.split_once('/')).map(|(_, event)| event).collect();
        let live = self.live;
        let known = events.into_iter().filter_map(|event| Some((event, live.types.tracepoint(event)?)));
        known.map(|(event, raw)| (event.into(), self.row(raw))).collect()
    }

    fn enums(&self) -> Vec<(Box<str>, Constants)> {
        let names = std::iter::once("").chain(self.enums.iter().map(String::as_str));
        names
            .filter_map(|name| {
                let constants = self.live.enum_constants(name)?;
                Some((name.into(), constants.into_iter().map(|(name, value)| (name.into(), value)).collect()))
            })
            .collect()
    }
}
