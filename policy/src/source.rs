//! Bytes to documents: a tree in which every value and every key knows its position in the text.
//!
//! YAML is read as kubectl reads it (with the scalars of YAML 1.1: `yes` is true, `0755` is 493). JSON is read as
//! YAML. An error in one document of a file affects only that document.

mod build;
mod document;
mod json;
mod lines;
mod node;
mod scalar;

use crate::{
    codes::SYNTAX,
    diagnostic::{Diagnostic, FieldPath},
};

pub use document::{Document, Located, MAX_ALIASED, MAX_DEPTH, MAX_FINDINGS};
pub use lines::{Lines, Position};
pub use node::{Entry, Node, Span, Value};

/// Most bytes of an input. The API server takes objects of 3 MiB at the most, etcd less.
pub const MAX_BYTES: usize = 3 << 20;
/// Reads all documents of a text. Empty ones (nothing between two `---`) are left out.
pub fn parse(text: &str) -> Vec<Document> {
    if text.len() > MAX_BYTES {
        return vec![unreadable(
            format!("the input has {} bytes, but at most {MAX_BYTES} are supported", text.len()),
            0,
        )];
    }
    build::documents(text)
}

/// Reads all documents of an input that may not be text.
pub fn parse_bytes(bytes: &[u8]) -> Vec<Document> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(e) => {
            let at = e.valid_up_to();
            vec![unreadable(format!("the input is not valid UTF-8: byte {at} is invalid"), at)]
        }
    }
}

fn unreadable(message: String, at: usize) -> Document {
    let diagnostic = Diagnostic::new(&SYNTAX, FieldPath::root(), message);
    Document {
        root: Node::null(Span::at(at)),
        complete: false,
        findings: vec![Located { diagnostic, span: Some(Span::at(at)) }],
    }
}

#[cfg(test)]
mod tests;
