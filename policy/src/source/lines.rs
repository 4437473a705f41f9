//! Bytes to lines and columns.

/// A place for a person, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// Where the lines of a text begin.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Of a text.
    pub fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Self { text, starts }
    }

    /// Line and column of a byte. A byte after the end is the end.
    pub fn position(&self, byte: usize) -> Position {
        let byte = byte.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= byte);
        let start = self.starts[line - 1];
        // A byte inside of a character counts as the character.
        let column = self.text[start..].char_indices().take_while(|(i, _)| start + i < byte).count();
        Position { line, column: column + 1 }
    }

    /// The text of a line, from 1, without its end.
    pub fn line(&self, line: usize) -> &'a str {
        let Some(start) = line.checked_sub(1).and_then(|i| self.starts.get(i)) else { return "" };
        let end = self.starts.get(line).map_or(self.text.len(), |next| next - 1);
        self.text[*start..end].trim_end_matches('\r')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions() {
        let lines = Lines::new("ab\r\nüx\n");
        let at = |byte| (lines.position(byte).line, lines.position(byte).column);
        assert_eq!(
            [at(0), at(2), at(4), at(6), at(8), at(100)],
            [(1, 1), (1, 3), (2, 1), (2, 2), (3, 1), (3, 1)]
        );
        assert_eq!(at(5), (2, 2));
        assert_eq!([lines.line(1), lines.line(2), lines.line(3), lines.line(4)], ["ab", "üx", "", ""]);
        assert_eq!(Lines::new("").position(0), Position { line: 1, column: 1 });
    }
}
