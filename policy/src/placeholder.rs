//! Placeholders that a template engine or a shell should have replaced: `{{ … }}`, `${NAME}`,
//! `$(NAME)`, `$NAME`, `%s`, `%(name)s`, `<…>`.

use crate::{
    diagnostic::{Diagnostic, Severity, Step},
    source::Node,
};

/// Replaces the help of a finding about a value that is wrong because it is a placeholder: no other help fits.
/// `object` is the object that the finding is about.
pub fn explain(diagnostic: &mut Diagnostic, object: &Node) {
    if diagnostic.severity == Severity::Note {
        return;
    }
    let text = if diagnostic.at_key {
        match diagnostic.path.0.last() {
            Some(Step::Field(name)) => Some(name.as_str()),
            _ => None,
        }
    } else {
        diagnostic.path.0.iter().try_fold(object, |node, step| node.step(step)).and_then(Node::as_str)
    };
    if let Some(found) = text.and_then(find) {
        diagnostic.help = Some(help(found));
        diagnostic.fix = None;
    }
}

/// The placeholder in a text, if there is one.
pub fn find(text: &str) -> Option<&str> {
    let starts = text.char_indices().filter(|(_, c)| matches!(c, '{' | '$' | '%' | '<'));
    starts.map(|(at, _)| &text[at..]).find_map(placeholder)
}

/// What to do about it.
pub fn help(placeholder: &str) -> String {
    format!("`{placeholder}` looks like an unrendered placeholder: replace it with its value")
}

/// The placeholder at the beginning of a text.
fn placeholder(text: &str) -> Option<&str> {
    let until = |close: &str| text.find(close).map(|end| &text[..end + close.len()]);
    if text.starts_with("{{") {
        return until("}}");
    }
    if text.starts_with("${") {
        return until("}").filter(|found| found.len() > 3);
    }
    if text.starts_with("$(") {
        return until(")").filter(|found| found.len() > 3);
    }
    if text.starts_with("%(") {
        return until(")s").filter(|found| found.len() > 4);
    }
    if let Some(name) = text.strip_prefix('$') {
        let length = name.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        return named.then(|| &text[..=length]);
    }
    if let Some(rest) = text.strip_prefix('%') {
        return rest.starts_with(['s', 'd', 'v', 'q']).then(|| &text[..2]);
    }
    let found = until(">").filter(|_| text.starts_with('<'))?;
    let inside = &found[1..found.len() - 1];
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' ' | '.');
    (inside.starts_with(|c: char| c.is_ascii_alphabetic()) && inside.chars().all(word)).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_of_every_kind() {
        for (text, expected) in [
            ("${PODCIDR}", "${PODCIDR}"),
            ("10.0.0.0/$BITS", "$BITS"),
            ("{{ .Values.cidr }}", "{{ .Values.cidr }}"),
            ("/opt/{{name}}/bin", "{{name}}"),
            ("$(POD_CIDR)/16", "$(POD_CIDR)"),
            ("%(cidr)s", "%(cidr)s"),
            ("%s", "%s"),
            ("/home/%s/x", "%s"),
            ("<your-cidr>", "<your-cidr>"),
            ("<POD CIDR>/16", "<POD CIDR>"),
        ] {
            assert_eq!(find(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "plain",
            "10.0.0.0/8",
            "$",
            "$5",
            "100%",
            "a<b",
            "<>",
            "<1>",
            "{",
            "${}",
            "$()",
            "%()s",
            "%",
            "é<ü",
        ] {
            assert_eq!(find(text), None, "{text}");
        }
    }
}
