//! A document of an input, and its findings.

use super::{
    json,
    node::{Node, Span, Value},
};
use crate::diagnostic::{Diagnostic, FieldPath, Step};

/// Most levels of nesting, aliases resolved. The deepest field of a policy is at 9.
pub const MAX_DEPTH: usize = 100;
/// Most values under anchors and out of aliases, which are copied.
pub const MAX_ALIASED: usize = 100_000;
/// Most diagnostics of one kind of reading that are kept of one document.
pub const MAX_FINDINGS: usize = 1000;

/// One document of an input.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its contents; [`Value::Null`] if it can't be read.
    pub root: Node,
    /// Whether all of it could be read. Nothing is to be concluded from the tree otherwise.
    pub complete: bool,
    /// What is wrong with its form as YAML.
    pub findings: Vec<Located>,
}

/// A diagnostic and the place in the text that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The diagnostic.
    pub diagnostic: Diagnostic,
    /// Where; `None` where there was no text, as in an admission request.
    pub span: Option<Span>,
}

impl Document {
    /// The document of a value that was text elsewhere, as an object in an admission request.
    pub fn from_json(value: &serde_json::Value) -> Self {
        Self { root: json::node(value), complete: true, findings: Vec::new() }
    }

    /// The document of JSON text whose positions are not reported, as an object in an admission request. The error is
    /// the reason why the text is not JSON.
    pub fn from_json_text(text: &str) -> Result<Self, serde_json::Error> {
        Ok(Self { root: json::read(text)?, complete: true, findings: Vec::new() })
    }

    /// The value at a path.
    pub fn get(&self, path: &FieldPath) -> Option<&Node> {
        path.0.iter().try_fold(&self.root, |node, step| node.step(step))
    }

    /// What to underline for a path: the value, where that is on one line, else its key. Where there is nothing at
    /// the path, the nearest thing around it. `None` for a document without text.
    pub fn caret(&self, path: &FieldPath, at_key: bool) -> Option<Span> {
        let mut node = &self.root;
        let mut key = None;
        let mut reached = 0;
        for step in &path.0 {
            let (next_key, next) = match (step, &node.value) {
                (Step::Field(name), Value::Map(entries)) => match entries.iter().find(|e| e.key == *name) {
                    Some(entry) => (Some(entry.key_span), &entry.value),
                    None => break,
                },
                (Step::Index(i), Value::Seq(items)) => match items.get(*i) {
                    Some(item) => (None, item),
                    None => break,
                },
                _ => break,
            };
            (key, node) = (next_key, next);
            reached += 1;
        }
        let found = reached == path.0.len();
        let span = match (key, &node.value) {
            (Some(key), _) if at_key && found => key,
            // There is no value after the colon.
            (Some(key), _) if node.span.is_empty() => key,
            (_, Value::Map(entries)) if !node.flow => match (key, entries.first()) {
                (Some(key), _) => key,
                (None, Some(first)) => first.key_span,
                (None, None) => node.span,
            },
            (Some(key), Value::Seq(_)) if !node.flow => key,
            _ => node.span,
        };
        span.known()
    }

    /// Adds to a diagnostic where it points.
    pub fn locate(&self, diagnostic: Diagnostic) -> Located {
        let span = self.caret(&diagnostic.path, diagnostic.at_key);
        Located { diagnostic, span }
    }
}
