//! Where a hook attaches: the key of everything that is kept for hooks, in the engine, in series, in pins and in saved
//! state.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::names;

names! {
    /// On which side of a function a hook runs.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum When {
        Entry = "entry",
        Return = "return",
    }
}

impl When {
    /// The side of a hook whose field `return` is this.
    pub const fn of(on_return: bool) -> Self {
        if on_return { Self::Return } else { Self::Entry }
    }
}

names! {
    /// The kinds of points.
    pub enum PointKind {
        Function = "function",
        Syscall = "syscall",
        Tracepoint = "tracepoint",
        RawTracepoint = "raw_tracepoint",
        Lsm = "lsm",
        Uprobe = "uprobe",
        Usdt = "usdt",
    }
}

impl PointKind {
    /// The first part of the label `hook`. Tetragon's labels do not distinguish a system call from the function that enters it, nor
    /// how a tracepoint's arguments are read.
    const fn label(self) -> &'static str {
        match self {
            Self::Function | Self::Syscall => "kprobe",
            Self::RawTracepoint => Self::Tracepoint.name(),
            Self::Tracepoint | Self::Lsm | Self::Uprobe | Self::Usdt => self.name(),
        }
    }
}

names! {
    /// The ways to name a place in a user program.
    pub enum AddressKind {
        Symbol = "symbol",
        Offset = "offset",
        Address = "address",
    }
}

/// A place in a user program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgramAddress {
    /// A symbol of the program.
    Symbol(String),
    /// An offset in the program's file.
    Offset(u64),
    /// A virtual address, as the program's headers have it.
    Address(u64),
}

impl fmt::Display for ProgramAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol(symbol) => f.write_str(symbol),
            Self::Offset(offset) => write!(f, "+{offset:#x}"),
            Self::Address(address) => write!(f, "{address:#x}"),
        }
    }
}

/// Where a hook attaches. Two hooks with equal points share an attachment; two points are two attachments, even on one
/// symbol.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookPoint {
    /// A kernel function, with its arguments as its prototype has them.
    Function {
        /// The kernel's symbol.
        symbol: String,
        /// On which side.
        when: When,
    },
    /// A system call, whose arguments are in the `struct pt_regs` that its entry point gets.
    Syscall {
        /// The kernel's symbol of the entry point: `__x64_sys_execve`.
        symbol: String,
        /// On which side.
        when: When,
    },
    /// A tracepoint, with the fields of its format.
    Tracepoint {
        /// `sched`.
        subsystem: String,
        /// `sched_process_exec`.
        event: String,
    },
    /// A tracepoint, with the arguments of its prototype. The kernel finds it by its event alone; the subsystem is in the
    /// label.
    RawTracepoint {
        /// `sched`.
        subsystem: String,
        /// `sched_process_exec`.
        event: String,
    },
    /// An LSM hook.
    Lsm {
        /// `file_open`.
        hook: String,
    },
    /// A place in a user program.
    Uprobe {
        /// The program's or library's file.
        path: String,
        /// Where in it.
        at: ProgramAddress,
        /// On which side.
        when: When,
    },
    /// A static probe of a user program.
    Usdt {
        /// The program's or library's file.
        path: String,
        /// The probe's provider.
        provider: String,
        /// The probe's name.
        name: String,
    },
}

impl HookPoint {
    /// Its kind.
    pub const fn kind(&self) -> PointKind {
        match self {
            Self::Function { .. } => PointKind::Function,
            Self::Syscall { .. } => PointKind::Syscall,
            Self::Tracepoint { .. } => PointKind::Tracepoint,
            Self::RawTracepoint { .. } => PointKind::RawTracepoint,
            Self::Lsm { .. } => PointKind::Lsm,
            Self::Uprobe { .. } => PointKind::Uprobe,
            Self::Usdt { .. } => PointKind::Usdt,
        }
    }

    /// The value of the label `hook`, as Tetragon writes it: `kprobe:SYMBOL`, `tracepoint:SUBSYSTEM/EVENT`, `lsm:HOOK`,
    /// `uprobe:PATH/SYMBOL`, `usdt:PROVIDER/NAME`. Several points may have one label: it names neither the side of a
    /// function, nor whether its arguments are a system call's, nor whether a tracepoint is raw.
    pub fn label(&self) -> String {
        let kind = self.kind().label();
        match self {
            Self::Function { symbol, .. } | Self::Syscall { symbol, .. } => format!("{kind}:{symbol}"),
            Self::Tracepoint { subsystem, event } | Self::RawTracepoint { subsystem, event } => {
                format!("{kind}:{subsystem}/{event}")
            }
            Self::Lsm { hook } => format!("{kind}:{hook}"),
            Self::Uprobe { path, at, .. } => format!("{kind}:{path}/{at}"),
            Self::Usdt { provider, name, .. } => format!("{kind}:{provider}/{name}"),
        }
    }

    /// What it is called in messages: the kernel's symbol, the event, the LSM hook, the program's file.
    pub fn name(&self) -> &str {
        match self {
            Self::Function { symbol, .. } | Self::Syscall { symbol, .. } => symbol,
            Self::Tracepoint { event, .. } | Self::RawTracepoint { event, .. } => event,
            Self::Lsm { hook } => hook,
            Self::Uprobe { path, .. } => path,
            Self::Usdt { name, .. } => name,
        }
    }

    /// The kernel's symbol, where it attaches to one.
    pub fn symbol(&self) -> Option<&str> {
        match self {
            Self::Function { symbol, .. } | Self::Syscall { symbol, .. } => Some(symbol),
            _ => None,
        }
    }

    /// On which side of a function it is; points that are no functions have one side.
    pub const fn when(&self) -> When {
        match self {
            Self::Function { when, .. } | Self::Syscall { when, .. } | Self::Uprobe { when, .. } => *when,
            Self::Tracepoint { .. } | Self::RawTracepoint { .. } | Self::Lsm { .. } | Self::Usdt { .. } => {
                When::Entry
            }
        }
    }

    /// Whether its arguments are a system call's.
    pub const fn is_syscall(&self) -> bool {
        matches!(self, Self::Syscall { .. })
    }

    /// Whether pointers among its arguments are to the memory of the process, not of the kernel.
    pub const fn has_user_pointers(&self) -> bool {
        matches!(self, Self::Syscall { .. } | Self::Uprobe { .. } | Self::Usdt { .. })
    }

    /// Whether it is the entry of a system call that gets the registers of a 32-bit program on x86
    /// (`arch/x86/include/asm/syscall_wrapper.h`).
    pub fn is_ia32(&self) -> bool {
        self.is_syscall() && self.symbol().is_some_and(|symbol| symbol.starts_with("__ia32_"))
    }

    /// A name for it in a file system, from which [`from_file_name`](Self::from_file_name) makes it again. It has
    /// letters, digits, `_`, `-`, `%` and `~` alone, since names in a bpf file system cannot have a dot.
    pub fn file_name(&self) -> String {
        let kind = self.kind().name();
        let number;
        let parts: Vec<&str> = match self {
            Self::Function { symbol, when } | Self::Syscall { symbol, when } => vec![when.name(), symbol],
            Self::Tracepoint { subsystem, event } | Self::RawTracepoint { subsystem, event } => {
                vec![subsystem, event]
            }
            Self::Lsm { hook } => vec![hook],
            Self::Uprobe { path, at, when } => {
                let (kind, place) = match at {
                    ProgramAddress::Symbol(symbol) => (AddressKind::Symbol, symbol),
                    ProgramAddress::Offset(place) => {
                        number = place.to_string();
                        (AddressKind::Offset, &number)
                    }
                    ProgramAddress::Address(place) => {
                        number = place.to_string();
                        (AddressKind::Address, &number)
                    }
                };
                vec![when.name(), path, kind.name(), place]
            }
            Self::Usdt { path, provider, name } => vec![path, provider, name],
        };
        let mut text = kind.to_owned();
        for part in parts {
            text.push('~');
            escape(part, &mut text);
        }
        text
    }

    /// The point whose [`file_name`](Self::file_name) this is.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let mut parts = name.split('~');
        let kind = PointKind::from_name(parts.next()?)?;
        let parts = parts.map(unescape).collect::<Option<Vec<String>>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Some(match (kind, parts.as_slice()) {
            (PointKind::Function, [when, symbol]) => {
                Self::Function { symbol: (*symbol).to_owned(), when: When::from_name(when)? }
            }
            (PointKind::Syscall, [when, symbol]) => {
                Self::Syscall { symbol: (*symbol).to_owned(), when: When::from_name(when)? }
            }
            (PointKind::Tracepoint, [subsystem, event]) => {
                Self::Tracepoint { subsystem: (*subsystem).to_owned(), event: (*event).to_owned() }
            }
            (PointKind::RawTracepoint, [subsystem, event]) => {
                Self::RawTracepoint { subsystem: (*subsystem).to_owned(), event: (*event).to_owned() }
            }
            (PointKind::Lsm, [hook]) => Self::Lsm { hook: (*hook).to_owned() },
            (PointKind::Uprobe, [when, path, kind, place]) => Self::Uprobe {
                path: (*path).to_owned(),
                at: match AddressKind::from_name(kind)? {
                    AddressKind::Symbol => ProgramAddress::Symbol((*place).to_owned()),
                    AddressKind::Offset => ProgramAddress::Offset(place.parse().ok()?),
                    AddressKind::Address => ProgramAddress::Address(place.parse().ok()?),
                },
                when: When::from_name(when)?,
            },
            (PointKind::Usdt, [path, provider, name]) => Self::Usdt {
                path: (*path).to_owned(),
                provider: (*provider).to_owned(),
                name: (*name).to_owned(),
            },
            _ => return None,
        })
    }
}

/// The label.
impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label())
    }
}

/// Appends a text in which every other byte than letters, digits, `_` and `-` is `%` and two digits.
fn escape(part: &str, text: &mut String) {
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            text.push(char::from(byte));
        } else {
            text.push('%');
            for digit in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(digit.into(), 16));
            }
        }
    }
}

fn unescape(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push(u8::try_from(digit()? << 4 | digit()?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
