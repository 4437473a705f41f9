//! The kernel's text files about itself, parsed.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::TracepointField;

/// A name in `/proc/kallsyms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// The address of the function, or of the first of several. 0 for readers without `CAP_SYSLOG`.
    pub address: u64,
    /// The number of functions with this name.
    pub count: u32,
}

/// The functions in `/proc/kallsyms`: text symbols of the kernel proper. Left out are modules (see the [crate]
/// documentation), functions that are discarded after boot, and symbols within functions: the padding before one
/// (`__pfx_*`) and the unlikely part of one (`*.cold`).
///
/// Line format (`kernel/kallsyms.c:s_show`): `ffffffff81000000 T name`, for a module's symbol then a tab and
/// `[module]`. With hidden addresses (0), discarded functions cannot be recognized.
pub fn kallsyms(text: &str) -> BTreeMap<&str, Symbol> {
    let (mut init_start, mut init_end) = (0, 0);
    for line in text.lines().filter_map(Line::parse) {
        match line.name {
            "_sinittext" => init_start = line.address,
            "_einittext" => init_end = line.address,
            _ => {}
        }
    }
    let mut names = BTreeMap::new();
    for line in text.lines().filter_map(Line::parse) {
        let gone = (init_start..init_end).contains(&line.address);
        if line.is_function() && !gone {
            names.entry(line.name).or_insert(Symbol { address: line.address, count: 0 }).count += 1;
        }
    }
    names
}

/// A line of `/proc/kallsyms` that belongs to the kernel proper.
struct Line<'a> {
    address: u64,
    kind: u8,
    name: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        let kind = *words.next()?.as_bytes().first()?;
        let name = words.next()?;
        // A fourth word names a module.
        words.next().is_none().then_some(Self { address, kind, name })
    }

    fn is_function(&self) -> bool {
        matches!(self.kind, b't' | b'T' | b'w' | b'W')
            && !self.name.starts_with("__pfx_")
            && !self.name.starts_with("__cfi_")
            && !self.name.split('.').skip(1).any(|suffix| suffix == "cold")
    }
}

/// How often each function occurs in `available_filter_functions` of the tracing file system: those that ftrace
/// can reach. A name followed by `[module]` is skipped.
pub fn filter_functions(text: &str) -> BTreeMap<&str, u32> {
    let mut names = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if let Some(name) = words.next()
            && words.next().is_none()
        {
            *names.entry(name).or_default() += 1;
        }
    }
    names
}

/// The functions in `/sys/kernel/debug/kprobes/blacklist` and their addresses (0 if hidden); lines like
/// `0xffffffff81000000-0xffffffff81000020<tab>name`.
pub fn blacklist(text: &str) -> HashMap<&str, u64> {
    fn entry(line: &str) -> Option<(&str, u64)> {
        let (range, name) = line.split_once(char::is_whitespace)?;
        let (start, _) = range.strip_prefix("0x")?.split_once('-')?;
        Some((name.trim(), u64::from_str_radix(start, 16).ok()?))
    }
    text.lines().filter_map(entry).collect()
}

/// The functions in `/sys/kernel/debug/error_injection/list`, lines like `name<tab>ERRNO`: those whose return value
/// a program may replace.
pub fn error_injection(text: &str) -> HashSet<&str> {
    text.lines().filter_map(|line| line.split_ascii_whitespace().next()).collect()
}

/// A system call's name (`sys_execve`) and its parameters as type and name, from the `format` files of
/// `events/syscalls/sys_enter_*` in the tracing file system, concatenated. `kernel/trace/trace_syscalls.c`
/// writes them from the prototypes in the source, which BTF does not have.
pub fn syscall_formats(text: &str) -> BTreeMap<String, Vec<(&str, &str)>> {
    let mut calls = BTreeMap::new();
    let mut current: Option<&mut Vec<(&str, &str)>> = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("name: ") {
            let call = name.trim().strip_prefix("sys_enter_");
            current = call.map(|call| calls.entry(format!("sys_{call}")).or_default());
        } else if let Some(params) = current.as_deref_mut()
            && let Some((ty, name)) = field(line).and_then(|(declaration, _)| declaration.rsplit_once(' '))
            // Fields of every event, and copies of strings (Linux 6.19 and later), are not arguments.
            && !name.starts_with("common_")
            && name != "__syscall_nr"
            && !ty.starts_with("__data_loc")
        {
            params.push((ty.trim_end(), name));
        }
    }
    calls
}

/// The names of all tracepoints as `SUBSYSTEM/EVENT`, sorted, from `available_events` of the tracing file system: a line
/// `SUBSYSTEM:EVENT` each.
pub fn events(text: &str) -> Vec<String> {
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| line.trim().split_once(':'))
        .map(|(a, b)| format!("{a}/{b}"))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The fields of a tracepoint, from its `format` file (`f_show` of `kernel/trace/trace_events.c`):
/// `field:unsigned short common_type; offset:0; size:2; signed:0;`.
pub fn tracepoint_fields(text: &str) -> Vec<TracepointField> {
    let field = |line: &str| {
        let (declaration, numbers) = field(line)?;
        let mut parts = numbers.split(';').map(str::trim);
        let number = |part: Option<&str>, name: &str| part?.strip_prefix(name)?.parse::<u32>().ok();
        let offset = number(parts.next(), "offset:")?;
        let size = number(parts.next(), "size:")?;
        let signed = number(parts.next(), "signed:")? == 1;
        let (ty, name) = declaration.rsplit_once([' ', '*'])?;
        // `rsplit_once` takes a star away.
        let star = declaration.as_bytes().get(ty.len()) == Some(&b'*');
        let ty = if star { format!("{ty}*") } else { ty.trim_end().to_owned() };
        let (name, ty) = match name.split_once('[') {
            Some((name, length)) => (name, format!("{ty}[{length}")),
            None => (name, ty),
        };
        Some(TracepointField { name: name.to_owned(), ty, offset, size, signed })
    };
    text.lines().filter_map(field).collect()
}

/// A line of a `format` file that is about a field: its declaration, and the rest of the line.
fn field(line: &str) -> Option<(&str, &str)> {
    let (declaration, rest) = line.trim().strip_prefix("field:")?.split_once(';')?;
    Some((declaration.trim(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FieldKind;

    /// Lines of Linux 7.3 and of a module.
    const SYMBOLS: &str = "ffffffffaf600000 T _stext\n\
        ffffffffb0aac000 T _sinittext\n\
        ffffffffb0aac010 t start_kernel\n\
        ffffffffb0b44454 T _einittext\n\
        ffffffffafdc45d0 T __pfx___x64_sys_execve\n\
        ffffffffafdc45e0 T __x64_sys_execve\n\
        ffffffffaf700000 t twice\n\
        ffffffffaf700100 t twice\n\
        ffffffffaf700200 t twice.cold\n\
        ffffffffaf700300 W weak.isra.0\n\
        ffffffffb2a00000 D data\n\
        ffffffffc0400000 t ext4_open\t[ext4]\n\
        nonsense\n\
        \n";

    #[test]
    fn symbols_of_functions() {
        let names: Vec<_> =
            kallsyms(SYMBOLS).into_iter().map(|(name, symbol)| (name, symbol.count)).collect();
        let expected =
            [("__x64_sys_execve", 1), ("_einittext", 1), ("_stext", 1), ("twice", 2), ("weak.isra.0", 1)];
        assert_eq!(names, expected);
        assert_eq!(kallsyms(SYMBOLS)["twice"], Symbol { address: 0xffff_ffff_af70_0000, count: 2 });
        // With hidden addresses, functions that are discarded after boot cannot be recognized.
        let hidden =
            SYMBOLS.replace("ffffffffb0aac0", "000000000000").replace("ffffffffb0b444", "0000000000");
        assert!(kallsyms(&hidden).contains_key("__x64_sys_execve"));
        assert!(kallsyms("").is_empty());
    }

    #[test]
    fn lists_of_functions() {
        let text = "queued_read_lock_slowpath\ntwice\ntwice\next4_open [ext4]\n\n";
        let names: Vec<_> = filter_functions(text).into_iter().collect();
        assert_eq!(names, [("queued_read_lock_slowpath", 1), ("twice", 2)]);
        let text = "0xffffffff9fc081a0-0xffffffff9fc081d0\twarn_thunk_thunk\nbroken\n";
        assert_eq!(blacklist(text), HashMap::from([("warn_thunk_thunk", 0xffff_ffff_9fc0_81a0)]));
        assert_eq!(error_injection("should_failslab\tERRNO\n"), HashSet::from(["should_failslab"]));
    }

    #[test]
    fn parameters_of_system_calls() {
        let text = "name: sys_enter_execve\n\
            ID: 843\n\
            format:\n\
            \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
            \n\
            \tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n\
            \tfield:const char * filename;\toffset:16;\tsize:8;\tsigned:0;\n\
            \tfield:const char *const * argv;\toffset:24;\tsize:8;\tsigned:0;\n\
            \tfield:__data_loc char[] __filename_val;\toffset:40;\tsize:4;\tsigned:0;\n\
            \n\
            print fmt: \"filename: 0x%08lx\", ((unsigned long)(REC->filename))\n\
            name: sys_enter_fork\n\
            name: other_event\n\
            \tfield:int x;\n";
        let calls = syscall_formats(text);
        assert_eq!(calls["sys_execve"], [("const char *", "filename"), ("const char *const *", "argv")]);
        assert_eq!(calls["sys_fork"], []);
        assert_eq!(calls.len(), 2);
    }

    #[test]
    fn fields_of_tracepoints() {
        let text = "name: some\nID: 310\nformat:\n\
            \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
            \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\
            \n\
            \tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;\n\
            \tfield:const char *name;\toffset:16;\tsize:8;\tsigned:0;\n\
            \tfield:const char * other;\toffset:24;\tsize:8;\tsigned:0;\n\
            \tfield:char comm[16];\toffset:32;\tsize:16;\tsigned:0;\n\
            \n\
            print fmt: \"field:%s\", REC->name\n";
        let fields = tracepoint_fields(text);
        let all: Vec<_> = fields.iter().map(|field| (&*field.name, &*field.ty, field.kind())).collect();
        assert_eq!(
            all,
            [
                ("common_type", "unsigned short", FieldKind::Int { bits: 16, signed: false }),
                ("common_pid", "int", FieldKind::Int { bits: 32, signed: true }),
                ("filename", "__data_loc char[]", FieldKind::DataLoc),
                ("name", "const char *", FieldKind::Pointer),
                ("other", "const char *", FieldKind::Pointer),
                ("comm", "char[16]", FieldKind::Array),
            ]
        );
        assert_eq!((fields[5].offset, fields[5].size), (32, 16));
        assert_eq!(events("sched:b\nsched:a\nbroken\n"), ["sched/a", "sched/b"]);
    }
}
