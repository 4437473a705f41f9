//! For people: code, place, the line itself, a caret, what to do.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{File, harmless};
use crate::{
    diagnostic::Severity,
    source::{Located, Span},
};

/// Bytes of a line that are shown; of a longer one, a part around the caret.
const WIDTH: usize = 200;

/// A finding with its line of the file, several lines long and without a line's end.
pub fn render(file: &File<'_>, finding: &Located, color: bool) -> String {
    let diagnostic = &finding.diagnostic;
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let message = harmless(&diagnostic.message);
    let name = harmless(file.name);
    let mut group = Group::with_title(level.primary_title(message).id(diagnostic.code.id));
    group = match finding.span {
        Some(span) => {
            let excerpt = Excerpt::new(file, span);
            let position = file.lines.position(span.start as usize);
            let mut annotation = AnnotationKind::Primary.span(excerpt.mark);
            if let Some(label) = &diagnostic.label {
                annotation = annotation.label(harmless(label).into_owned());
            }
            let snippet = Snippet::source(excerpt.text).line_start(position.line).annotation(annotation);
            if excerpt.whole {
                group.element(snippet.path(name))
            } else {
                // Columns of an excerpt aren't those of the line.
                let origin = Origin::path(name).line(position.line).char_column(position.column);
                group.element(origin).element(snippet)
            }
        }
        None => group.element(Origin::path(name)),
    };
    let path = diagnostic.path.to_string();
    if finding.span.is_none() && !path.is_empty() {
        group = group.element(Level::NOTE.message(format!("at {}", harmless(&path))));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(harmless(help).into_owned()));
    }
    if let Some(versions) = diagnostic.targets.tetragon_alone() {
        group = group.element(Level::NOTE.message(format!("this applies to {versions} only")));
    }
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[group])
}

/// A finding on one line: `FILE:LINE:COLUMN: error[GW303]: message; help`.
pub fn one_line(file: &File<'_>, finding: &Located) -> String {
    let diagnostic = &finding.diagnostic;
    let place = match file.position(finding) {
        Some(position) => format!("{}:{}", position.line, position.column),
        None => diagnostic.path.to_string(),
    };
    let help = diagnostic.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
    let line = format!(
        "{}:{place}: {}[{}]: {}{help}",
        file.name, diagnostic.severity, diagnostic.code.id, diagnostic.message
    );
    harmless(&line).into_owned()
}

/// The part of a line that is shown, and what is marked in it.
struct Excerpt<'a> {
    text: &'a str,
    mark: Range<usize>,
    /// Whether it is all of the line.
    whole: bool,
}

impl<'a> Excerpt<'a> {
    fn new(file: &File<'a>, span: Span) -> Self {
        let position = file.lines.position(span.start as usize);
        let line = file.lines.line(position.line);
        let start = line.char_indices().nth(position.column - 1).map_or(line.len(), |(i, _)| i);
        // A span of several lines is marked up to the end of its first line.
        let end = (start + (span.end - span.start) as usize).min(line.len());
        let end = line.floor_char_boundary(end);
        if line.len() <= WIDTH {
            return Self { text: line, mark: start..end, whole: true };
        }
        let from = line.floor_char_boundary(start.saturating_sub(WIDTH / 4));
        let to = line.floor_char_boundary((from + WIDTH).min(line.len()));
        Self { text: &line[from..to], mark: start - from..end.min(to) - from, whole: false }
    }
}
