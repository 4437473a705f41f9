//! Puts a profile together.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{
    Profile, Types,
    functions::{Access, Entry, Functions},
    live::{Live, ReadFormat},
};
use crate::{
    Arch, BtfError, KernelTypes,
    text::{self, Symbol},
};

/// The sources of a profile: a release, BTF, and the readable lists of the kernel in its own format.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// `uname -r`.
    pub release: &'a str,
    /// `uname -v`, or nothing.
    pub version: &'a str,
    /// The architecture.
    pub arch: Arch,
    /// `/sys/kernel/btf/vmlinux`.
    pub btf: &'a [u8],
    /// `/proc/kallsyms`. Without it, a function exists if the kernel's types or the next list have it.
    pub symbols: Option<&'a str>,
    /// `available_filter_functions` of the tracing file system. Without it, nothing is known about probing. Without
    /// symbols and their addresses, nothing is known about functions that it lacks: it may list them by another name.
    pub attachable: Option<&'a str>,
    /// `/sys/kernel/debug/kprobes/blacklist`.
    pub blacklist: Option<&'a str>,
    /// `/sys/kernel/debug/error_injection/list`; empty if the kernel has none.
    pub error_injection: Option<&'a str>,
    /// The concatenated `format` files of `events/syscalls/sys_enter_*` in the tracing file system. Without them, the
    /// parameters of few system calls are known.
    pub syscalls: Option<&'a str>,
    /// `available_events` of the tracing file system. Without it, the kernel's tracepoints are unknown.
    pub events: Option<&'a str>,
    /// Reads the `format` file of one of them.
    pub format: Option<&'a ReadFormat>,
}

impl<'a> Parts<'a> {
    /// Adds the kernel's tracepoints.
    #[must_use]
    pub const fn events(self, events: &'a str, format: &'a ReadFormat) -> Self {
        Self { events: Some(events), format: Some(format), ..self }
    }

    /// The required parts. The lists are optional.
    pub const fn new(release: &'a str, arch: Arch, btf: &'a [u8]) -> Self {
        Self {
            release,
            version: "",
            arch,
            btf,
            symbols: None,
            attachable: None,
            blacklist: None,
            error_injection: None,
            syscalls: None,
            events: None,
            format: None,
        }
    }
}

/// The reason why no profile could be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The kernel's types cannot be read.
    #[error("cannot read the kernel's type information: {0}")]
    Btf(#[from] BtfError),
    /// The type information is not that of a kernel.
    #[error("the type information contains no function; it is not from a kernel")]
    NoFunctions,
    /// The list of symbols has no function.
    #[error("the symbol list contains no function; is it the content of /proc/kallsyms?")]
    NoSymbols,
}

impl Profile {
    /// Builds a profile from its parts.
    pub fn from_parts(parts: &Parts<'_>) -> Result<Self, ProfileError> {
        Self::from_types(KernelTypes::new(parts.btf)?, parts)
    }

    /// Like [`from_parts`](Self::from_parts), with parsed types. Ignores [`Parts::btf`].
    pub fn from_types(types: KernelTypes, parts: &Parts<'_>) -> Result<Self, ProfileError> {
        if types.functions().next().is_none() {
            return Err(ProfileError::NoFunctions);
        }
        let lists = Lists::new(parts);
        let mut entries: BTreeMap<Cow<'_, str>, Entry> = match &lists.symbols {
            Some(symbols) if symbols.is_empty() => return Err(ProfileError::NoSymbols),
            Some(symbols) => symbols.keys().map(|name| (Cow::from(*name), lists.entry(name))).collect(),
            None => types
                .functions()
                .chain(lists.attachable.iter().flatten().map(|(name, _)| *name))
                .map(|name| (Cow::from(name), lists.entry(name)))
                .collect(),
        };
        if lists.symbols.is_none() {
            add_aliases(&mut entries, parts.arch);
        }
        let functions = Functions {
            names: entries.keys().map(Cow::as_ref).collect(),
            entries: entries.into_values().collect(),
            overrides_known: lists.overridable.is_some(),
        };
        Ok(Self {
            release: parts.release.to_owned(),
            version: parts.version.to_owned(),
            arch: parts.arch,
            functions,
            types: Types::Live(Arc::new(Live {
                types,
                formats: parts.syscalls.unwrap_or_default().to_owned(),
                events: parts.events.map(text::events),
                format: parts.format.cloned(),
            })),
        })
    }
}

/// Without symbols, adds the names of system calls without parameters: on amd64 they are aliases of
/// `__do_sys_*` (`__X64_SYS_STUB0` in `arch/x86/include/asm/syscall_wrapper.h`), and only that name is in the kernel's
/// types and in ftrace's list.
fn add_aliases(entries: &mut BTreeMap<Cow<'_, str>, Entry>, arch: Arch) {
    let alias = |(name, entry): (&Cow<'_, str>, &Entry)| {
        let call = name.strip_prefix("__do_sys_")?;
        Some((Cow::from(format!("{}sys_{call}", arch.syscall_prefix())), *entry))
    };
    let aliases: Vec<_> = entries.iter().filter_map(alias).collect();
    for (name, entry) in aliases {
        entries.entry(name).or_insert(entry);
    }
}

/// The kernel's lists, parsed.
struct Lists<'a> {
    symbols: Option<BTreeMap<&'a str, Symbol>>,
    attachable: Option<BTreeMap<&'a str, u32>>,
    blacklist: HashMap<&'a str, u64>,
    /// Addresses of the functions in `attachable` and in `blacklist`. A function can have several names
    /// (`__x64_sys_fork` and `__do_sys_fork`), of which these lists have one.
    attachable_addresses: HashSet<u64>,
    blacklist_addresses: HashSet<u64>,
    overridable: Option<HashSet<&'a str>>,
}

impl<'a> Lists<'a> {
    fn new(parts: &Parts<'a>) -> Self {
        let symbols = parts.symbols.map(text::kallsyms);
        let attachable = parts.attachable.map(text::filter_functions);
        let blacklist = parts.blacklist.map(text::blacklist).unwrap_or_default();
        let address = |name: &&str| Some(symbols.as_ref()?.get(name)?.address);
        Self {
            attachable_addresses: attachable.iter().flat_map(BTreeMap::keys).filter_map(address).collect(),
            blacklist_addresses: blacklist.values().copied().collect(),
            symbols,
            attachable,
            blacklist,
            overridable: parts.error_injection.map(text::error_injection),
        }
    }

    fn entry(&self, name: &str) -> Entry {
        Entry {
            access: self.access(name),
            symbols: u16::try_from(self.count(name)).unwrap_or(u16::MAX),
            overridable: self.overridable.as_ref().is_some_and(|list| list.contains(name)),
        }
    }

    /// The known number of functions with this name.
    fn count(&self, name: &str) -> u32 {
        let symbols = self.symbols.as_ref().and_then(|list| list.get(name)).map(|symbol| symbol.count);
        let attachable = self.attachable.as_ref().and_then(|list| list.get(name)).copied();
        symbols.max(attachable).unwrap_or(1)
    }

    fn access(&self, name: &str) -> Access {
        let symbol = self.symbols.as_ref().and_then(|symbols| symbols.get(name));
        let address = symbol.map(|symbol| symbol.address).filter(|address| *address != 0);
        if self.blacklist.contains_key(name) || address.is_some_and(|a| self.blacklist_addresses.contains(&a))
        {
            return Access::Blacklisted;
        }
        let Some(attachable) = &self.attachable else { return Access::Unknown };
        match address {
            _ if attachable.contains_key(name) => {
                if self.count(name) > 1 {
                    Access::Ambiguous
                } else {
                    Access::Yes
                }
            }
            Some(address) if self.attachable_addresses.contains(&address) => Access::Yes,
            Some(_) => Access::NotTraceable,
            // The list may have it by another name.
            None => Access::Unknown,
        }
    }
}
