//! Diagnostics as text: for people at a terminal, and for programs.

pub mod brief;
pub mod github;
pub mod human;
pub mod json;
pub mod sarif;

use std::{borrow::Cow, fmt::Write as _};

use crate::source::{Lines, Located, Position};

/// A file that diagnostics are about.
#[derive(Clone, Debug)]
pub struct File<'a> {
    name: &'a str,
    lines: Lines<'a>,
}

impl<'a> File<'a> {
    /// A file of this name and text.
    pub fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, lines: Lines::new(text) }
    }

    /// Where a finding begins.
    pub fn position(&self, finding: &Located) -> Option<Position> {
        finding.span.map(|span| self.lines.position(span.start as usize))
    }

    /// Where a finding begins, and the position of the next character after it.
    pub fn range(&self, finding: &Located) -> Option<(Position, Position)> {
        let position = |byte: u32| self.lines.position(byte as usize);
        finding.span.map(|span| (position(span.start), position(span.end)))
    }
}

/// A text without what a terminal would obey: control characters as escapes, and those that turn the direction of
/// writing around, by which a text could be made to look like another.
fn harmless(text: &str) -> Cow<'_, str> {
    let risky = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(risky) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if risky(c) {
            let _ = write!(clean, "{}", c.escape_unicode());
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests;
