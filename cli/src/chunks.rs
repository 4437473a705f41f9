//! Splits a long text into parts that are read one after the other. Time grows in proportion to the text, and the
//! trees of all objects are never in memory at once.

use std::ops::Range;

/// Size from which a part ends at the next end of a document.
const PART_BYTES: usize = 256 << 10;

/// Splits a text at the starts of documents into parts of similar size, in order and without gaps.
pub(crate) fn chunks(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    while text.len() - start > PART_BYTES {
        // At the start of a line this always ends a document (YAML 1.2.2, section 9.1.2).
        let from = text.floor_char_boundary(start + PART_BYTES);
        match text[from..].find("\n---") {
            Some(at) => {
                let end = from + at + 1;
                found.push(start..end);
                start = end;
            }
            None => break,
        }
    }
    found.push(start..text.len());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_begin_with_documents_and_lose_nothing() {
        let document = format!("---\nü: \"{}\"\n", "x".repeat(100_000));
        let text = document.repeat(20);
        let parts = chunks(&text);
        assert!(parts.len() > 5, "{parts:?}");
        assert!(parts.iter().all(|part| text[part.clone()].starts_with("---\n")));
        assert_eq!(parts.iter().map(|part| &text[part.clone()]).collect::<String>(), text);
        assert_eq!(chunks("").len(), 1);
        let one = format!("a: {}", "x".repeat(2 * PART_BYTES));
        assert_eq!(chunks(&one).len(), 1);
    }
}
