//! Text that people read, taken out of the files that hold it: blocks of prose, each with the lines that it comes from.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// A paragraph, a message or a comment, on one line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) text: String,
    /// Where in `text` a line of the file begins, and its number.
    lines: Vec<(usize, usize)>,
}

impl Block {
    /// Adds what a line of the file has.
    fn push(&mut self, line: usize, text: &str) {
        if self.lines.last().is_none_or(|(_, last)| *last != line) {
            self.lines.push((self.text.len(), line));
        }
        self.text.push_str(text);
    }

    /// The line of the file that this place of the text comes from.
    pub(super) fn line_of(&self, place: usize) -> usize {
        let at = self.lines.iter().rev().find(|(begin, _)| *begin <= place);
        at.or(self.lines.first()).map_or(0, |(_, line)| *line)
    }
}

/// The numbers of a text's lines, by place.
#[derive(Debug)]
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(place, _)| place).collect())
    }

    /// Counted from 1.
    pub(super) fn number(&self, place: usize) -> usize {
        self.0.partition_point(|end| *end < place) + 1
    }
}

/// The events of a Markdown file, each with its place.
pub(super) fn events(text: &str) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
    Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH).into_offset_iter()
}

/// The paragraphs, headings, items and cells of a Markdown file. Code is `…`, and code blocks are left out.
pub(super) fn of_markdown(text: &str) -> Vec<Block> {
    let lines = Lines::of(text);
    let (mut blocks, mut block, mut in_code) = (Vec::new(), Block::default(), false);
    for (event, place) in events(text) {
        let line = lines.number(place.start);
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => in_code = false,
            Event::Text(words) if !in_code => block.push(line, &words),
            Event::Code(_) => block.push(line, "`…`"),
            Event::SoftBreak | Event::HardBreak => block.text.push(' '),
            Event::Start(
                Tag::Paragraph | Tag::Heading { .. } | Tag::Item | Tag::TableCell | Tag::List(_),
            )
            | Event::End(
                TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::Item | TagEnd::TableCell | TagEnd::List(_),
            ) => blocks.push(std::mem::take(&mut block)),
            _ => {}
        }
    }
    blocks.push(block);
    blocks.retain(|block| !block.text.is_empty());
    blocks
}

/// The strings and the comments of a source file, up to its tests.
pub(super) fn of_source(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut comment = Block::default();
    let mut rest = Scanner { text, place: 0, lines: Lines::of(text) };
    while let Some(piece) = rest.next_piece() {
        match piece {
            Piece::Tests => break,
            Piece::Comment { line, words } => {
                if !words.is_empty() {
                    comment.push(line, words);
                    comment.text.push(' ');
                    continue;
                }
                blocks.push(std::mem::take(&mut comment));
            }
            Piece::Literal(block) => blocks.extend([std::mem::take(&mut comment), block]),
            Piece::Code => {
                blocks.push(std::mem::take(&mut comment));
            }
        }
    }
    blocks.push(comment);
    blocks.retain(|block| !block.text.trim().is_empty());
    blocks
}

/// A piece of a source file.
enum Piece<'a> {
    Comment {
        line: usize,
        words: &'a str,
    },
    Literal(Block),
    Code,
    /// Where the tests begin.
    Tests,
}

/// Finds strings and comments. It knows as much of Rust's grammar as it takes not to mistake one for the other.
struct Scanner<'a> {
    text: &'a str,
    place: usize,
    lines: Lines,
}

impl<'a> Scanner<'a> {
    fn next_piece(&mut self) -> Option<Piece<'a>> {
        let rest = &self.text[self.place..];
        let first = rest.chars().next()?;
        if rest.starts_with("#[cfg(test)]") {
            return Some(Piece::Tests);
        }
        if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            let (begin, comment) = (self.place, &rest[..end]);
            // With the line's end, and what the next line is indented by: comments of a block follow each other.
            self.place += rest[end..]
                .find(|letter: char| !letter.is_whitespace())
                .map_or(rest.len(), |more| end + more);
            let words = comment.trim_start_matches(['/', '!']).trim();
            return Some(Piece::Comment { line: self.lines.number(begin), words });
        }
        if let Some(hashes) = raw_string(rest) {
            let begin = self.place + rest.find('"').unwrap_or(0) + 1;
            let end = self.text[begin..].find(&format!("\"{hashes}")).unwrap_or(0) + begin;
            self.place = end + 1 + hashes.len();
            return Some(Piece::Literal(self.literal(begin, end)));
        }
        if first == '"' {
            let begin = self.place + 1;
            let mut escaped = false;
            let end = self.text[begin..].find(|letter| {
                let ends = letter == '"' && !escaped;
                escaped = letter == '\\' && !escaped;
                ends
            });
            let end = end.map_or(self.text.len(), |end| begin + end);
            self.place = (end + 1).min(self.text.len());
            return Some(Piece::Literal(self.literal(begin, end)));
        }
        self.place += character(rest).unwrap_or(first.len_utf8());
        Some(Piece::Code)
    }

    /// A string's words, each line of it trimmed.
    fn literal(&self, begin: usize, end: usize) -> Block {
        let mut block = Block::default();
        let mut place = begin;
        for line in self.text[begin..end].split_inclusive('\n') {
            let words = line.trim_end_matches('\n').trim_end_matches('\\');
            let words = if place == begin { words } else { words.trim_start() };
            block.push(self.lines.number(place), &words.replace("\\n", " ").replace("\\\"", "\""));
            place += line.len();
        }
        block
    }
}

/// The `#`s of a raw string that begins here.
fn raw_string(rest: &str) -> Option<&str> {
    let rest = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r')?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then(|| &rest[..hashes])
}

/// The length of a character literal that begins here, such as a quote in quotes; lifetimes are none.
fn character(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    let escaped = inner.starts_with('\\');
    let mut letters = inner.char_indices().skip(usize::from(escaped) + 1);
    letters.next().filter(|(_, letter)| *letter == '\'').map(|(place, _)| place + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(blocks: &[Block]) -> Vec<&str> {
        blocks.iter().map(|block| block.text.trim()).collect()
    }

    #[test]
    fn markdown_without_its_code() {
        let text = "# A `b`\n\none\ntwo [link](x.md)\n\n```\ncode\n```\n\n* item\n\n| a | b |\n|---|---|\n| c | d |\n";
        let blocks = of_markdown(text);
        assert_eq!(texts(&blocks), ["A `…`", "one two link", "item", "a", "b", "c", "d"]);
        assert_eq!(blocks[1].line_of(0), 3);
        assert_eq!(blocks[1].line_of(5), 4);
    }

    #[test]
    fn strings_and_comments_of_a_source() {
        let text = "//! About\n//! this.\n\nfn f<'a>() -> char {\n    g(\"one \\\n       two \\\"x\\\"\", '\"', r#\"raw \"y\"\"#);\n    \
                    '\\'' // A\n    // note.\n}\n/// Doc.\n#[cfg(test)]\nmod tests { \"no\" }\n";
        let blocks = of_source(text);
        assert_eq!(texts(&blocks), ["About this.", "one two \"x\"", "raw \"y\"", "A note.", "Doc."]);
        assert_eq!(blocks[1].line_of(6), 6);
        assert_eq!(blocks[4].line_of(0), 10);
    }
}
