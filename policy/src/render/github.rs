//! For GitHub's logs: workflow commands, which it shows beside the line of a pull request.

use super::File;
use crate::{diagnostic::Severity, source::Located};

/// A finding as one workflow command, without the line's end.
pub fn render(file: &File<'_>, finding: &Located) -> String {
    let diagnostic = &finding.diagnostic;
    let command = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    let place = file.range(finding).map_or_else(String::new, |(start, end)| {
        let mut place = format!(",line={},endLine={},col={}", start.line, end.line, start.column);
        // GitHub takes columns only of a single line, and the last one is marked as well.
        if start.line == end.line && end.column > start.column {
            place = format!("{place},endColumn={}", end.column - 1);
        }
        place
    });
    let mut message = format!("{}: {}", diagnostic.path, diagnostic.message);
    if let Some(label) = &diagnostic.label {
        message = format!("{message}\n{label}");
    }
    if let Some(help) = &diagnostic.help {
        message = format!("{message}\nhelp: {help}");
    }
    format!(
        "::{command} file={}{place},title={}::{}",
        property(file.name),
        property(&format!("{}: {}", diagnostic.code.id, diagnostic.code.title)),
        data(&message)
    )
}

/// The text after the second `::`.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property, which ends at a comma.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
