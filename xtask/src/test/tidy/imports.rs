//! Imports are in three groups, standard library, other crates, this crate, with one `use` for each crate.
//!
//! rustfmt can do this (`group_imports`, `imports_granularity`), but not a stable one.

/// Which group an import belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Standard,
    Others,
    This,
}

/// One `use`, as rustfmt writes it: from its line to the one with its semicolon.
struct Import<'a> {
    line: usize,
    indentation: usize,
    /// The first part of its path.
    root: &'a str,
    group: Group,
    /// Whether an empty line is before it.
    is_apart: bool,
}

/// What is wrong with the imports of a file.
pub(super) fn faults(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut block: Vec<Import<'_>> = Vec::new();
    let mut lines = (1..).zip(text.lines()).peekable();
    let (mut is_apart, mut attribute) = (true, false);
    while let Some((number, line)) = lines.next() {
        let indentation = line.len() - line.trim_start().len();
        let Some(path) = line.trim_start().strip_prefix("use ") else {
            if line.is_empty() {
                is_apart = true;
            } else {
                // A `use` of one configuration is a matter of its own.
                attribute = line.trim_start().starts_with("#[");
                block.clear();
                is_apart = true;
            }
            continue;
        };
        let mut last = line;
        while !last.ends_with(';') {
            let Some((_, line)) = lines.next() else { break };
            last = line;
        }
        if std::mem::take(&mut attribute) {
            continue;
        }
        let root = path
            .split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
            .next()
            .unwrap_or_default();
        let group = match root {
            "std" | "core" | "alloc" => Group::Standard,
            "crate" | "self" | "super" => Group::This,
            _ => Group::Others,
        };
        let import = Import { line: number, indentation, root, group, is_apart };
        if block.last().is_some_and(|before| before.indentation != indentation) {
            block.clear();
        }
        if let Some(before) = block.last() {
            faults.extend(fault(name, before, &import));
        }
        if block.iter().any(|before| before.root == root) {
            faults.push(format!("{name}:{number}: a second `use {root}`: write one for each crate"));
        }
        block.push(import);
        is_apart = false;
    }
    faults
}

/// What is wrong with an import after another one.
fn fault(name: &str, before: &Import<'_>, import: &Import<'_>) -> Option<String> {
    let what = match before.group.cmp(&import.group) {
        std::cmp::Ordering::Greater => "the order of imports is: standard library, other crates, this crate",
        std::cmp::Ordering::Less if !import.is_apart => {
            "an empty line is missing between two groups of imports"
        }
        std::cmp::Ordering::Equal if import.is_apart => "an empty line divides a group of imports",
        _ => return None,
    };
    Some(format!("{name}:{}: {what}", import.line))
}

#[cfg(test)]
mod tests {
    use super::faults;

    #[test]
    fn groups_and_trees() {
        let good = "use std::{\n    fs,\n};\n\nuse anyhow::Result;\nuse clap::Args;\n\nuse super::x;\nuse crate::y;\n\n\
                    pub(crate) use z::Z;\n\nmod tests {\n    use super::*;\n}\n#[cfg(unix)]\nuse std::os;\n";
        assert!(faults("a.rs", good).is_empty(), "{:?}", faults("a.rs", good));
        for (text, part) in [
            ("use anyhow::Result;\n\nuse std::fs;\n", "a.rs:3: the order"),
            ("use std::fs;\nuse anyhow::Result;\n", "a.rs:2: an empty line is missing"),
            ("use anyhow::A;\n\nuse clap::B;\n", "a.rs:3: an empty line divides"),
            ("use std::fs;\nuse std::io;\n", "a.rs:2: a second `use std`"),
        ] {
            let found = faults("a.rs", text);
            assert!(found.len() == 1 && found[0].starts_with(part), "{found:?}");
        }
    }
}
