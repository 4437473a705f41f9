//! Modules form no circles: if `a` uses `b`, then `b` does not use `a`, neither directly nor through others.
//!
//! Compared are modules with the same parent, at each level. What a module's descendants use counts as used by the
//! module: if `a/x.rs` uses `b` and `b/y.rs` uses `a/z.rs`, then `a` and `b` form a circle. A module and its own
//! descendants do not: a parent assembles its children, and its children may share its items. Tests do not count: they
//! may use what is built on their module.
//!
//! A module uses another one if its tokens have a path to it that begins with `crate`, `self` or `super`. A name that an
//! ancestor imports, such as `crate::Name` with `pub use a::Name` in the crate's root, counts as the module that has it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    str::FromStr as _,
};

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A source file of a module.
#[derive(Debug)]
pub(super) struct Source {
    /// The module's path in its crate.
    module: Vec<String>,
    /// The file, by its path in the repository.
    file: String,
    paths: Vec<UsedPath>,
}

/// A path in a source.
#[derive(Debug, PartialEq, Eq)]
struct UsedPath {
    /// Its parts, from the crate's root on.
    parts: Vec<String>,
    /// The name that a `use` gives it in its module.
    imported_as: Option<String>,
}

impl Source {
    /// Reads a file of a module.
    pub(super) fn parse(module: Vec<String>, file: String, text: &str) -> Result<Self> {
        let tokens = TokenStream::from_str(text).map_err(|error| anyhow!("{file}: not Rust: {error}"))?;
        let mut paths = Vec::new();
        collect(tokens, &module, &mut paths);
        Ok(Self { module, file, paths })
    }
}

/// The circles of a crate. Each is a sentence with the files that form it.
pub(super) fn faults(sources: &[Source]) -> BTreeSet<String> {
    let mut files = BTreeMap::new();
    let mut imports = BTreeMap::new();
    for source in sources {
        files.entry(source.module.as_slice()).or_insert(source.file.as_str());
        for path in &source.paths {
            if let Some(name) = &path.imported_as {
                imports.insert((source.module.as_slice(), name.as_str()), path.parts.as_slice());
            }
        }
    }
    let modules = Modules { files, imports };
    let mut uses = Uses::new();
    for source in sources {
        for path in &source.paths {
            let target = modules.used(&source.module, path.parts.clone());
            let shared = target.iter().zip(&source.module).take_while(|(a, b)| a == b).count();
            if shared < target.len() && shared < source.module.len() {
                let files =
                    (source.file.as_str(), modules.files.get(target.as_slice()).copied().unwrap_or(""));
                let by = uses.entry(&source.module[..=shared]).or_default();
                by.entry(target[..=shared].to_vec()).or_insert(files);
            }
        }
    }
    circles(&uses)
}

/// For each module, the modules beside it that it uses. With each, the file that uses it and the file that is used.
type Uses<'a> = BTreeMap<&'a [String], BTreeMap<Vec<String>, (&'a str, &'a str)>>;

/// The modules of a crate.
struct Modules<'a> {
    files: BTreeMap<&'a [String], &'a str>,
    /// The path of each name that a module imports.
    imports: BTreeMap<(&'a [String], &'a str), &'a [String]>,
}

impl Modules<'_> {
    /// The module that has what this path of `user` names.
    fn used(&self, user: &[String], mut path: Vec<String>) -> Vec<String> {
        // Imports that name each other would never end.
        for _ in 0..8 {
            let len = (0..=path.len()).rev().find(|len| self.files.contains_key(&path[..*len]));
            let (module, rest) = path.split_at(len.unwrap_or(0));
            let import = rest.first().and_then(|name| self.imports.get(&(module, name.as_str())));
            let Some(import) = import.filter(|_| user.starts_with(module)) else {
                return module.to_vec();
            };
            path = import.iter().chain(&rest[1..]).cloned().collect();
        }
        user.to_vec()
    }
}

/// The shortest circle through each module, once.
fn circles(uses: &Uses<'_>) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut faults = BTreeSet::new();
    for start in uses.keys() {
        let Some(circle) = circle(uses, start) else { continue };
        if known.insert(circle.iter().map(|(module, _)| *module).collect::<BTreeSet<_>>()) {
            let steps: Vec<String> =
                circle.iter().map(|(_, (user, used))| format!("{user} uses {used}")).collect();
            let (last, others) = steps.split_last().map_or(("", &[][..]), |(last, all)| (last, all));
            faults.insert(format!(
                "modules form a circle: {} and {last}: move the items that both need to a file of their own",
                others.join(", "),
            ));
        }
    }
    faults
}

/// A step of a circle: the module that is used, the file that uses it, and the file that is used.
type Step<'a> = (&'a [String], (&'a str, &'a str));

/// The shortest circle from a module to itself.
fn circle<'a>(uses: &'a Uses<'a>, start: &[String]) -> Option<Vec<Step<'a>>> {
    let mut waiting = VecDeque::from([(start, Vec::<Step<'a>>::new())]);
    let mut seen = BTreeSet::new();
    while let Some((module, steps)) = waiting.pop_front() {
        for (used, files) in uses.get(module).into_iter().flatten() {
            let mut steps = steps.clone();
            steps.push((used, *files));
            if used == start {
                return Some(steps);
            }
            if seen.insert(used) {
                waiting.push_back((used, steps));
            }
        }
    }
    None
}

/// Adds the paths of tokens in `module`, which can be an inline one.
fn collect(tokens: TokenStream, module: &[String], found: &mut Vec<UsedPath>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match (token, tokens.get(at + 1), tokens.get(at + 2)) {
            (TokenTree::Punct(hash), Some(TokenTree::Group(attribute)), _)
                if hash.as_char() == '#' && is_cfg_test(attribute) =>
            {
                at += item(&tokens[at..]);
            }
            (TokenTree::Ident(word), Some(TokenTree::Ident(name)), Some(TokenTree::Group(body)))
                if word == "mod" =>
            {
                let inline: Vec<String> = module.iter().cloned().chain([name.to_string()]).collect();
                collect(body.stream(), &inline, found);
                at += 3;
            }
            (TokenTree::Ident(word), ..) if word == "use" => {
                at = path(&tokens, at + 1, &[], true, module, found);
            }
            (TokenTree::Ident(word), Some(TokenTree::Punct(colon)), _)
                if (word == "crate" || word == "self" || word == "super") && colon.as_char() == ':' =>
            {
                at = path(&tokens, at, &[], false, module, found);
            }
            (TokenTree::Group(group), ..) => {
                collect(group.stream(), module, found);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Whether an attribute is `#[cfg(test)]`.
fn is_cfg_test(attribute: &Group) -> bool {
    attribute.stream().to_string().replace(' ', "") == "cfg(test)"
}

/// The number of tokens of the item that begins here: it ends with braces or a semicolon.
fn item(tokens: &[TokenTree]) -> usize {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    };
    tokens.iter().position(is_end).map_or(tokens.len(), |at| at + 1)
}

/// Adds the paths that begin at a token, after `prefix`. Returns the place of the token after them.
fn path(
    tokens: &[TokenTree],
    mut at: usize,
    prefix: &[String],
    is_import: bool,
    module: &[String],
    found: &mut Vec<UsedPath>,
) -> usize {
    let mut parts = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(name)) => parts.push(name.to_string().trim_start_matches("r#").to_owned()),
            Some(TokenTree::Group(tree)) if tree.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = tree.stream().into_iter().collect();
                let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ',');
                for branch in inner.split(is_comma).filter(|branch| !branch.is_empty()) {
                    path(branch, 0, &parts, is_import, module, found);
                }
                return at + 1;
            }
            // `*`, or the `<` of a type's arguments: what is before it is used.
            _ => break,
        }
        at += 1;
        let is_colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':');
        if !(is_colon(at) && is_colon(at + 1)) {
            break;
        }
        at += 2;
    }
    let mut imported_as = parts.last().filter(|_| is_import).cloned();
    if let (Some(TokenTree::Ident(word)), Some(TokenTree::Ident(alias))) =
        (tokens.get(at), tokens.get(at + 1))
        && word == "as"
    {
        imported_as = imported_as.map(|_| alias.to_string());
        at += 2;
    }
    // `a::{self}` is `a`.
    if parts.len() > 1 && parts.last().is_some_and(|last| last == "self") {
        parts.pop();
        imported_as =
            imported_as.and_then(|name| if name == "self" { parts.last().cloned() } else { Some(name) });
    }
    found.push(UsedPath { parts: absolute(module, parts), imported_as });
    at
}

/// A path from the crate's root on.
fn absolute(module: &[String], parts: Vec<String>) -> Vec<String> {
    let mut base = module.to_vec();
    let mut rest = parts.into_iter().peekable();
    if rest.next_if(|part| part == "crate").is_some() {
        base.clear();
    } else {
        while let Some(part) = rest.next_if(|part| part == "self" || part == "super") {
            if part == "super" {
                base.pop();
            }
        }
    }
    base.extend(rest);
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The circles of files, which are named by their modules.
    fn of(files: &[(&str, &str)]) -> Vec<String> {
        let sources = files.iter().map(|(name, text)| {
            let module = name.split('/').filter(|part| *part != "lib").map(ToOwned::to_owned).collect();
            Source::parse(module, format!("{name}.rs"), text).unwrap()
        });
        faults(&sources.collect::<Vec<_>>()).into_iter().collect()
    }

    #[test]
    fn a_circle_is_named_by_its_files() {
        let found = of(&[
            ("lib", "mod a; mod b; mod c;"),
            ("a", "mod x; use std::fmt;"),
            ("a/x", "use crate::{b::{self, B}, d};"),
            ("b", "fn f() { crate::c::f::<u8>() }"),
            ("c", "#[cfg(test)] use crate::x; mod inner { use super::super::a::A; }"),
        ]);
        assert_eq!(
            found,
            [
                "modules form a circle: a/x.rs uses b.rs, b.rs uses c.rs and c.rs uses a.rs: move the items that both \
              need to a file of their own"
            ]
        );
    }

    #[test]
    fn each_way_to_write_a_path_counts() {
        for text in [
            "use crate::b::B;",
            "use super::{b as c, x};",
            "pub(crate) use super::b::*;",
            "fn f() -> super::b::B<u8> {}",
            "fn f() { print!(\"{}\", crate::b::b()) }",
            "use crate::{x::{y}, b::{self, c}};",
            "mod inner { fn f() { super::super::b::f() } }",
            "use crate::Name;",
            "use crate::Alias;",
        ] {
            let root = "mod a; mod b; pub use b::Name; pub use self::b::C as Alias;";
            assert_eq!(of(&[("lib", root), ("a", text), ("b", "use crate::a::A;")]).len(), 1, "{text}");
        }
    }

    #[test]
    fn neither_parents_and_children_nor_tests_form_a_circle() {
        let found = of(&[
            ("lib", "mod a; mod b; use self::a::A;"),
            ("a", "mod x; mod y; pub use x::X; use crate::B;"),
            ("a/x", "use super::A; use crate::B; // crate::a::y\n"),
            ("a/y", "use super::{A, x::X}; fn f(self) { \"crate::b\"; self.b() }"),
            ("b", "use super::C; #[cfg(test)] mod tests { use crate::a::A; }"),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }
}
