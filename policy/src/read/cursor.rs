//! A value and its path. The path is kept as links on the stack and becomes a [`FieldPath`] only for a diagnostic.

use std::cell::RefCell;

use crate::{
    codes::{UNKNOWN_NAME, WRONG_TYPE},
    diagnostic::{Diagnostic, Edit, FieldPath, Fix, Step},
    nearest::nearest,
    source::{MAX_FINDINGS, Node, Value},
    synonyms::{WordKind, synonym},
    values::integer,
};

/// What was found so far.
pub(super) struct Findings {
    base: FieldPath,
    found: RefCell<Vec<Diagnostic>>,
}

impl Findings {
    pub(super) fn new(base: FieldPath) -> Self {
        Self { base, found: RefCell::new(Vec::new()) }
    }

    pub(super) fn into_vec(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }

    /// Of a document that is nothing but mistakes not all are kept.
    fn add(&self, diagnostic: Diagnostic) {
        let mut found = self.found.borrow_mut();
        if found.len() < MAX_FINDINGS {
            found.push(diagnostic);
        }
    }
}

#[derive(Clone, Copy)]
enum Link<'a> {
    Root,
    Field(&'a Cursor<'a>, &'a str),
    Index(&'a Cursor<'a>, usize),
}

/// A value that is being read.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) node: &'a Node,
    link: Link<'a>,
    findings: &'a Findings,
}

impl<'a> Cursor<'a> {
    pub(super) fn root(node: &'a Node, findings: &'a Findings) -> Self {
        Self { node, link: Link::Root, findings }
    }

    pub(super) fn member(&'a self, name: &'a str, node: &'a Node) -> Self {
        Self { node, link: Link::Field(self, name), findings: self.findings }
    }

    fn element(&'a self, index: usize, node: &'a Node) -> Self {
        Self { node, link: Link::Index(self, index), findings: self.findings }
    }

    pub(super) fn path(&self) -> FieldPath {
        let mut steps = Vec::new();
        let mut link = self.link;
        loop {
            let above = match link {
                Link::Root => break,
                Link::Field(above, name) => {
                    steps.push(Step::Field(name.into()));
                    above
                }
                Link::Index(above, index) => {
                    steps.push(Step::Index(index));
                    above
                }
            };
            link = above.link;
        }
        steps.reverse();
        FieldPath(self.findings.base.0.iter().cloned().chain(steps).collect())
    }

    pub(super) fn report(&self, diagnostic: Diagnostic) {
        self.findings.add(diagnostic);
    }

    pub(super) fn wrong_type(&self, wanted: &str) -> Diagnostic {
        let shown = match &self.node.value {
            Value::String(text) if text.chars().count() <= 40 => format!("a string ({text:?})"),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                format!("{} (`{}`)", self.node.kind(), self.node.written)
            }
            _ => self.node.kind().to_owned(),
        };
        Diagnostic::new(
            &WRONG_TYPE,
            self.path(),
            format!("expected {wanted}, found {shown}; the API server rejects the policy"),
        )
    }

    /// Reports a wrong type that `replacement` fixes.
    fn retyped(&self, wanted: &str, verb: &str, replacement: String) {
        let fix = Fix {
            title: format!("{verb}: `{replacement}`"),
            path: self.path(),
            edit: Edit::Replace(replacement),
            safe: true,
        };
        self.report(self.wrong_type(wanted).fix(fix));
    }

    /// A string. A number or boolean is reported and read as it is written.
    pub(super) fn text(&self) -> Option<String> {
        match &self.node.value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                let written = self.node.written.to_string();
                self.retyped("a string", "quote it", format!("\"{written}\""));
                Some(written)
            }
            _ => {
                self.report(self.wrong_type("a string"));
                None
            }
        }
    }

    /// An integer of a type. One in quotes is reported and read.
    pub(super) fn number<T: TryFrom<i128> + Copy>(&self, min: T, max: T) -> Option<T>
    where
        i128: From<T>,
    {
        let value = match &self.node.value {
            Value::Int(n) => *n,
            Value::String(text) if integer(text).is_ok() => {
                self.retyped("an integer", "remove the quotes", text.clone());
                integer(text).ok()?
            }
            _ => {
                self.report(self.wrong_type("an integer"));
                return None;
            }
        };
        let (min, max) = (i128::from(min), i128::from(max));
        if !(min..=max).contains(&value) {
            let message = format!(
                "{value} is out of range: expected {min} to {max}; the API server rejects the policy"
            );
            self.report(Diagnostic::new(&WRONG_TYPE, self.path(), message));
            return None;
        }
        T::try_from(value).ok()
    }

    /// A boolean. The word in quotes is reported and read.
    pub(super) fn flag(&self) -> Option<bool> {
        match &self.node.value {
            Value::Bool(b) => Some(*b),
            Value::String(text) if matches!(text.to_ascii_lowercase().as_str(), "true" | "false") => {
                let bare = text.to_ascii_lowercase();
                self.retyped("a boolean", "remove the quotes", bare.clone());
                Some(bare == "true")
            }
            _ => {
                self.report(self.wrong_type("`true` or `false`"));
                None
            }
        }
    }

    /// The elements of an array, each read by `element`. A single value is reported and read as the one element.
    pub(super) fn list<T>(&self, mut element: impl FnMut(&Cursor<'_>) -> T) -> Vec<T> {
        match &self.node.value {
            Value::Seq(items) => {
                items.iter().enumerate().map(|(i, item)| element(&self.element(i, item))).collect()
            }
            Value::String(text) => {
                self.retyped(
                    "a list",
                    "write it as a list",
                    format!("[{}]", serde_json::Value::from(text.as_str())),
                );
                vec![element(self)]
            }
            Value::Int(_) | Value::Bool(_) | Value::Float(_) => {
                self.report(self.wrong_type("a list"));
                Vec::new()
            }
            Value::Map(_) => {
                self.report(self.wrong_type("a list").help("start its first line with `- `"));
                vec![element(self)]
            }
            Value::Null => Vec::new(),
        }
    }

    /// One of the words of a table. A likely typo, or another word for the same, is reported and read as the
    /// intended word.
    pub(super) fn word(&self, kind: WordKind, words: &[&'static str]) -> Option<&'static str> {
        self.named_word(kind, kind.name(), words)
    }

    /// The same, for what a person calls otherwise than its kind.
    pub(super) fn named_word(
        &self,
        kind: WordKind,
        what: &str,
        words: &[&'static str],
    ) -> Option<&'static str> {
        let text = self.text()?;
        if let Some(word) = words.iter().find(|word| **word == text) {
            return Some(word);
        }
        let diagnostic = Diagnostic::new(
            &UNKNOWN_NAME,
            self.path(),
            format!("unknown {what} {text:?}; the API server rejects the policy"),
        );
        // In another case it is the word itself.
        let same = words.iter().find(|word| word.eq_ignore_ascii_case(&text)).copied();
        let by_meaning = same.is_none().then(|| synonym(kind, &text, words)).flatten();
        let (word, help) = if let Some(meaning) = by_meaning {
            (meaning.word, Some(meaning.help))
        } else {
            // `nearest` borrows from a table that lives as long as the program.
            let near = same.or_else(|| {
                let near = nearest(&text, words.iter().copied())?;
                words.iter().copied().find(|word| *word == near)
            });
            (near, near.map(|word| format!("did you mean `{word}`?")))
        };
        let diagnostic = match help {
            Some(help) => diagnostic.help(help),
            None if words.len() <= 16 => diagnostic.help(format!("expected one of `{}`", words.join("`, `"))),
            None => diagnostic,
        };
        self.report(match word {
            Some(word) => diagnostic.fix(Fix {
                title: format!("write `{word}`"),
                path: self.path(),
                edit: Edit::Replace(word.to_owned()),
                safe: same.is_some(),
            }),
            None => diagnostic,
        });
        word
    }
}
