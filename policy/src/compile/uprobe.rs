//! Functions of user programs. The programs are in containers and on nodes, so nothing is known of them here: the agent
//! finds files, symbols and offsets.

use super::{
    compiler::Compiler,
    declared::misread,
    types::{Expected, expected},
};
use crate::{
    codes,
    diagnostic::{Diagnostic, FieldPath},
    model::{Arg, ArgType, Hook, HookTarget},
    plan::{HookPlan, HookPoint, ProgramAddress, When},
};

/// The most places of a program that one hook may name. Each has a program and a matcher of its own.
const MAX_PLACES: usize = 128;

impl Compiler<'_> {
    /// The hooks at the places of a program that a hook names, one at each.
    pub(super) fn uprobes(&mut self, hook: &Hook, path: FieldPath) -> Vec<HookPlan> {
        let HookTarget::Uprobe { path: file, symbols, offsets, addrs, counters, digests } = &hook.target
        else {
            return Vec::new();
        };
        for (name, present) in
            [("refCtrOffsets", !counters.is_empty()), ("binaryDigests", !digests.is_empty())]
        {
            if present {
                self.not_run(path.field(name), &format!("`{name}`"));
            }
        }
        if hook.on_return {
            self.arguments_on_return(hook, &path);
        }
        let good = self.program_path(file, &path.field("path"));
        let symbols = symbols
            .iter()
            .enumerate()
            .filter(|(i, symbol)| self.program_symbol(symbol, &path.field("symbols").index(*i)))
            .map(|(_, symbol)| ProgramAddress::Symbol(symbol.clone()));
        let mut places: Vec<ProgramAddress> = symbols
            .chain(offsets.iter().map(|offset| ProgramAddress::Offset(*offset)))
            .chain(addrs.iter().map(|address| ProgramAddress::Address(*address)))
            .collect();
        places.sort_unstable();
        places.dedup();
        if places.len() > MAX_PLACES {
            self.report(Diagnostic::new(
                &codes::TOO_MANY_POINTS,
                path.clone(),
                format!(
                    "the hook names more than {MAX_PLACES} places of the program, each of which takes time to attach; the \
                     policy is not loaded"
                ),
            ));
            return Vec::new();
        }
        if !good {
            return Vec::new();
        }
        let when = When::of(hook.on_return);
        let point = |at| HookPoint::Uprobe { path: file.clone(), at, when };
        let mut places = places.into_iter();
        let Some(first) = places.next() else { return Vec::new() };
        // All of them have the same arguments and selectors, which are compiled once.
        let first = self.hook_at(hook, point(first), None, path);
        let others: Vec<HookPlan> = places.map(|at| HookPlan { point: point(at), ..first.clone() }).collect();
        std::iter::once(first).chain(others).collect()
    }

    /// Whether a file's path can be looked up in a container.
    fn program_path(&mut self, file: &str, path: &FieldPath) -> bool {
        let problem = if file.is_empty() {
            // A rule reports it.
            return false;
        } else if !file.starts_with('/') {
            "is not absolute"
        } else if file.contains('\0') || file.len() >= 4_096 {
            "is not a path"
        } else {
            return true;
        };
        let message =
            format!("{file:?} {problem}; no container has such a file, so this hook would never fire");
        self.report(Diagnostic::new(&codes::BAD_TEXT, path.clone(), message));
        false
    }

    /// Whether a symbol is one: a name, or a name and an offset from it.
    fn program_symbol(&mut self, symbol: &str, path: &FieldPath) -> bool {
        if SymbolName::parse(symbol).is_some() {
            return true;
        }
        let message = format!(
            "{symbol:?} is not a symbol: write its name, or its name, `+`, and an offset in bytes; this hook would never fire"
        );
        self.report(Diagnostic::new(&codes::BAD_TEXT, path.clone(), message));
        false
    }

    /// When a function returns, the registers have its result, and no more its arguments.
    fn arguments_on_return(&mut self, hook: &Hook, path: &FieldPath) {
        for (i, selector) in hook.selectors.iter().enumerate() {
            if !selector.match_args.is_empty() {
                let path = path.field("selectors").index(i).field("matchArgs");
                self.not_run(path, "filters on arguments with `return: true` in `uprobes`");
            }
        }
    }

    /// Checks the type of an argument of a user program's function.
    pub(super) fn of_user_program(&mut self, arg: &Arg, by_filter: bool, path: &FieldPath) {
        // An address is read in the memory of whoever has it.
        let (Expected::Struct([name, ..]), false) = (expected(arg.ty), arg.ty == ArgType::Sockaddr) else {
            return;
        };
        let (severity, consequence) = misread(by_filter);
        self.report(
            Diagnostic::new(
                &codes::ARG_TYPE,
                path.field("type"),
                format!(
                    "declared as `{}`, a `struct {name}` of the kernel, which no function of a user program has; {consequence}",
                    arg.ty
                ),
            )
            .severity(severity)
            .help("use an integer type, `string`, or `sockaddr`"),
        );
    }
}

/// A symbol as a policy names it: `NAME` or `NAME+OFFSET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolName<'a> {
    /// Its name in the program's symbol table.
    pub name: &'a str,
    /// Bytes from its beginning.
    pub offset: u64,
}

impl<'a> SymbolName<'a> {
    /// Reads one. The offset is decimal, or hexadecimal with `0x`, octal with `0o` or `0`, binary with `0b`.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (name, offset) = match text.split_once('+') {
            Some((name, offset)) => {
                (name, u64::try_from(crate::values::integer_of(offset, 64, false).ok()?).ok()?)
            }
            None => (text, 0),
        };
        (!name.is_empty() && !name.contains('\0')).then_some(Self { name, offset })
    }
}

#[cfg(test)]
mod tests {
    use super::SymbolName;

    #[test]
    fn symbols_with_and_without_an_offset() {
        let of = |text| SymbolName::parse(text).map(|symbol| (symbol.name, symbol.offset));
        assert_eq!(of("main"), Some(("main", 0)));
        assert_eq!(of("main.run+0x10"), Some(("main.run", 16)));
        assert_eq!(of("main+7"), Some(("main", 7)));
        for wrong in ["", "+1", "main+", "main+x", "main+1+2", "main+-1"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
