//! For kubectl: one warning, which Kubernetes wants to be short. What is cut off is behind `gatewatch explain CODE`.

use std::borrow::Cow;

use crate::diagnostic::{Diagnostic, FieldPath, Step};

/// Characters of a warning. Kubernetes asks for no more than 120 and may cut them at 256.
pub const CHARACTERS: usize = 120;
/// Characters that a path may take where not all can be shown.
const PATH: usize = 40;

/// A diagnostic in at most [`CHARACTERS`]: `CODE path: message; help`, as much of it as there is room for. What the help
/// says beyond its first clause is left out first, then all of it, then the middle of the path, then the end of the
/// message.
pub fn render(diagnostic: &Diagnostic) -> String {
    let whole = plain(&diagnostic.to_string()).into_owned();
    if count(&whole) <= CHARACTERS {
        return whole;
    }
    let message = plain(&diagnostic.message);
    let head = |path: &str| format!("{} {path}: ", diagnostic.code.id);
    let path = plain(&diagnostic.path.to_string()).into_owned();
    let long = format!("{}{message}", head(&path));
    if let Some(help) = &diagnostic.help {
        let with_clause = format!("{long}; {}", clause(&plain(help)));
        if count(&with_clause) <= CHARACTERS {
            return with_clause;
        }
    }
    if count(&long) <= CHARACTERS {
        return long;
    }
    let head = head(if count(&path) > PATH { shortened(&diagnostic.path) } else { path }.as_str());
    let room = CHARACTERS.saturating_sub(count(&head));
    cut(&format!("{head}{}", essence(&message, room)))
}

/// Any sentence in at most [`CHARACTERS`], without control characters.
pub fn cut(text: &str) -> String {
    to_length(&plain(text), CHARACTERS)
}

/// `kprobes[0]…values[3]` of `spec.kprobes[0].selectors[1].matchArgs[2].values[3]`.
fn shortened(path: &FieldPath) -> String {
    let is_spec = |step: &Step| matches!(step, Step::Field(name) if name == "spec");
    let steps = match path.0.split_first() {
        Some((first, rest)) if is_spec(first) => rest,
        _ => &path.0,
    };
    // A field and the index behind it belong together.
    let indexed = |at: usize| usize::from(matches!(steps.get(at), Some(Step::Index(_))));
    let first = 1 + indexed(1);
    let last = steps.len().saturating_sub(1);
    let last = last.saturating_sub(indexed(last));
    let show = |steps: &[Step]| plain(&FieldPath(steps.to_vec()).to_string()).into_owned();
    if first >= last {
        return to_length(&show(steps), PATH);
    }
    let (head, tail) = (show(&steps[..first]), show(&steps[last..]));
    // The end says more than the beginning.
    let room = PATH.saturating_sub(1);
    if count(&head) + count(&tail) <= room {
        format!("{head}…{tail}")
    } else {
        format!("…{}", to_length(&tail, room))
    }
}

/// The first clause of a help, which has what to write: `did you mean "empire"?` of a longer one.
fn clause(help: &str) -> &str {
    let end = ["; ", " (", ": ", ", "].iter().filter_map(|end| help.find(end)).min().unwrap_or(help.len());
    match help.find("? ") {
        Some(question) if question < end => &help[..=question],
        _ => &help[..end],
    }
}

/// The beginning of a sentence: up to the end of a part of it, or of a word.
fn essence(text: &str, room: usize) -> String {
    if count(text) <= room {
        return text.to_owned();
    }
    let limit = text.char_indices().nth(room.saturating_sub(1)).map_or(text.len(), |(at, _)| at);
    let head = &text[..limit];
    let ends = ["; ", ": ", ", "].iter().filter_map(|end| head.rfind(end));
    let at = ends.max().filter(|at| *at > limit * 2 / 3).or_else(|| head.rfind(' '));
    let at = at.filter(|at| *at > limit / 2).unwrap_or(limit);
    format!("{}…", &head[..at])
}

/// At most `limit` characters; a cut text ends in `…`.
fn to_length(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some(_) => text.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
    }
}

fn count(text: &str) -> usize {
    text.chars().count()
}

/// Without line breaks and other control characters, which no header can hold.
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::UNDECLARED_ARG;

    fn place() -> FieldPath {
        FieldPath::root().field("spec").field("kprobes").index(0).field("selectors").index(1)
    }

    fn about(message: &str) -> Diagnostic {
        Diagnostic::new(
            &UNDECLARED_ARG,
            place().field("matchArgs").index(2).field("values").index(3),
            message,
        )
    }

    #[test]
    fn what_is_short_is_whole() {
        let short = Diagnostic::new(&UNDECLARED_ARG, place(), "it is wrong").help("fix it");
        assert_eq!(render(&short), "GW303 spec.kprobes[0].selectors[1]: it is wrong; fix it");
    }

    #[test]
    fn a_suggestion_stays_where_its_reason_does_not_fit() {
        let path =
            FieldPath::root().field("spec").field("template").field("metadata").field("labels").field("org");
        let near = Diagnostic::new(&UNDECLARED_ARG, path, "\"Empire\" matches no policy")
            .help("did you mean \"empire\"? (2 policies would select the pods of this workload)");
        assert_eq!(
            render(&near),
            "GW303 spec.template.metadata.labels.org: \"Empire\" matches no policy; did you mean \"empire\"?"
        );
    }

    #[test]
    fn the_help_goes_first_then_the_path_then_the_message() {
        let help =
            "write something else, which is described here in far more words than one warning of 120 has";
        assert_eq!(
            render(&about("it is wrong").help(help)),
            "GW303 spec.kprobes[0].selectors[1].matchArgs[2].values[3]: it is wrong; write something else"
        );
        let long =
            about("the argument is not declared, so that this filter could never be evaluated by anyone");
        let shown = render(&long);
        assert!(shown.starts_with("GW303 kprobes[0]…values[3]: the argument is not declared"), "{shown}");
        assert!(shown.ends_with("by anyone") && count(&shown) <= CHARACTERS, "{shown}");
        let longer = render(&about(&"some words of a message ".repeat(9)));
        assert!(longer.ends_with("…") && count(&longer) <= CHARACTERS && count(&longer) > 100, "{longer}");
        assert!(!longer.ends_with(" …"), "{longer}");
    }

    #[test]
    fn whatever_is_in_it_it_is_one_short_line() {
        for word in ["ä".repeat(300), "a\n".repeat(300), " ".repeat(300), String::new()] {
            for path in
                [FieldPath::root(), place().field(&word), FieldPath::root().field(&word).field("b").index(0)]
            {
                let diagnostic = Diagnostic::new(&UNDECLARED_ARG, path, word.clone()).help(word.clone());
                let shown = render(&diagnostic);
                assert!(count(&shown) <= CHARACTERS && !shown.contains(char::is_control), "{shown}");
                assert!(shown.starts_with("GW303 "), "{shown}");
            }
        }
    }
}
