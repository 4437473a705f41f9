//! A fix as a change of the text: only the affected bytes change, so comments and layout stay.

use std::ops::Range;

use gatewatch_policy::{
    diagnostic::{Edit, FieldPath, Fix, Step},
    source::{Document, Entry, Node, Value},
};

/// A range of the text and its replacement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Change {
    pub(crate) range: (usize, usize),
    pub(crate) text: String,
}

/// The change of a fix in a text. `None` if it is more than a replacement of bytes: a multi-line value that changes its
/// form, the target of an alias, or JSON that would become YAML.
pub(crate) fn change(document: &Document, text: &str, fix: &Fix) -> Option<Change> {
    let node = document.get(&fix.path)?;
    let json = document.root.flow && text.get(document.root.span.range())?.starts_with('{');
    let fits = |yaml: &str| !json || serde_json::from_str::<serde_json::Value>(yaml).is_ok();
    let (range, new) = match &fix.edit {
        Edit::Replace(yaml) => {
            let range = node.span.known()?.range();
            (node.flow && !range.is_empty() && fits(yaml)).then_some((range, yaml.clone()))?
        }
        Edit::Rename(name) => {
            let range = entry(document, &fix.path)?.key_span.known()?.range();
            let quoted = text.get(range.clone())?.starts_with(['"', '\'']);
            (range, if quoted { format!("\"{name}\"") } else { name.clone() })
        }
        Edit::AddField(name, yaml) => {
            let name = if json { format!("\"{name}\"") } else { name.clone() };
            fits(yaml).then(|| add_field(node, text, &name, yaml)).flatten()?
        }
        Edit::Append(yaml) => fits(yaml).then(|| append(node, text, std::slice::from_ref(yaml))).flatten()?,
        Edit::Extend(all) => all.iter().all(|yaml| fits(yaml)).then(|| append(node, text, all)).flatten()?,
        Edit::Remove => (remove(document, text, &fix.path)?, String::new()),
        Edit::Join => (dash(document, text, &fix.path)?, " ".to_owned()),
    };
    text.get(range.clone())?;
    Some(Change { range: (range.start, range.end), text: new })
}

/// Applies changes. Of overlapping changes only the first is applied. Returns the new text and the number of applied
/// changes.
pub(crate) fn apply(text: &str, mut changes: Vec<Change>) -> (String, usize) {
    changes.sort();
    changes.dedup();
    let (mut new, mut at, mut made) = (String::with_capacity(text.len()), 0, 0);
    for Change { range: (start, end), text: replacement } in changes {
        if start < at || (made > 0 && start == at) {
            continue;
        }
        new.push_str(&text[at..start]);
        new.push_str(&replacement);
        (at, made) = (end, made + 1);
    }
    new.push_str(&text[at..]);
    (new, made)
}

/// The member at a path.
fn entry<'a>(document: &'a Document, path: &FieldPath) -> Option<&'a Entry> {
    let (last, above) = path.0.split_last()?;
    let (Step::Field(name), Value::Map(entries)) = (last, &document.get(&FieldPath(above.to_vec()))?.value)
    else {
        return None;
    };
    entries.iter().find(|entry| entry.key == *name)
}

fn add_field(node: &Node, text: &str, name: &str, yaml: &str) -> Option<(Range<usize>, String)> {
    let Value::Map(entries) = &node.value else { return None };
    let member = format!("{name}: {yaml}");
    if node.flow {
        return before_bracket(node, text, '}', &member);
    }
    // After a member on one line, where people expect it, or else before the first.
    let first = entries.first()?.key_span.known()?.range();
    let indent = " ".repeat(column(text, first.start));
    let last_short = entries.iter().take_while(|entry| is_short(entry, text)).last();
    match last_short {
        Some(entry) => {
            let end = line_end(text, entry.value.span.range().end.max(entry.key_span.range().end));
            Some((end..end, format!("\n{indent}{member}")))
        }
        None => Some((first.start..first.start, format!("{member}\n{indent}"))),
    }
}

/// Whether a member is on one line.
fn is_short(entry: &Entry, text: &str) -> bool {
    let range = entry.key_span.range().start..entry.value.span.range().end;
    entry.value.flow && text.get(range).is_some_and(|member| !member.contains('\n'))
}

fn append(node: &Node, text: &str, elements: &[String]) -> Option<(Range<usize>, String)> {
    let Value::Seq(items) = &node.value else { return None };
    if node.flow {
        return before_bracket(node, text, ']', &elements.join(", "));
    }
    let last = items.last()?;
    let start = last.span.known()?.range().start;
    let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let dash = text[line..start].find("- ")?;
    let indent = &text[line..line + dash];
    // The target of an alias is elsewhere.
    let end = line_end(text, content_end(last, text).filter(|end| *end >= start)?);
    let lines = elements.iter().map(|yaml| format!("\n{indent}- {yaml}"));
    indent.trim().is_empty().then(|| (end..end, lines.collect()))
}

/// The end of a node's content. The span of a block can extend to the next token.
fn content_end(node: &Node, text: &str) -> Option<usize> {
    let range = node.span.known()?.range();
    if node.flow {
        return Some(range.end);
    }
    match &node.value {
        Value::Map(entries) => {
            let last = entries.last()?;
            let key = last.key_span.known()?.range().end;
            Some(content_end(&last.value, text).map_or(key, |end| end.max(key)))
        }
        Value::Seq(items) => content_end(items.last()?, text),
        _ => Some(range.start + text.get(range)?.trim_end().len()),
    }
}

fn before_bracket(node: &Node, text: &str, bracket: char, new: &str) -> Option<(Range<usize>, String)> {
    let range = node.span.known()?.range();
    let inside = text.get(range.clone())?.strip_suffix(bracket)?;
    let body = inside.trim_end();
    let at = range.start + body.len();
    let comma = if body.len() == 1 || body.ends_with(',') { "" } else { ", " };
    Some((at..at, format!("{comma}{new}")))
}

/// The range of a member or an element with its lines or its comma.
fn remove(document: &Document, text: &str, path: &FieldPath) -> Option<Range<usize>> {
    let (last, above) = path.0.split_last()?;
    let parent = document.get(&FieldPath(above.to_vec()))?;
    let (starts, ends): (Vec<usize>, Vec<usize>) = match &parent.value {
        Value::Map(entries) => entries
            .iter()
            .map(|e| (e.key_span.range().start, e.value.span.range().end.max(e.key_span.range().end)))
            .unzip(),
        Value::Seq(items) => {
            items.iter().map(|item| (item.span.range().start, item.span.range().end)).unzip()
        }
        _ => return None,
    };
    let at = match (last, &parent.value) {
        (Step::Field(name), Value::Map(entries)) => entries.iter().position(|entry| entry.key == *name)?,
        (Step::Index(index), Value::Seq(_)) => *index,
        _ => return None,
    };
    let (start, end) = (*starts.get(at)?, *ends.get(at)?);
    // An object without its last member is different from an empty one.
    if starts.len() == 1 || end > text.len() {
        return None;
    }
    if parent.flow {
        return match starts.get(at + 1) {
            Some(next) => Some(start..*next),
            None => Some(*ends.get(at.checked_sub(1)?)?..end),
        };
    }
    let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let lead = &text[line..start];
    let whole_lines = match parent.value {
        Value::Seq(_) => lead.trim() == "-",
        _ => lead.trim().is_empty(),
    };
    // The first member of an element follows the dash.
    if !whole_lines {
        return None;
    }
    let end = line_end(text, end);
    Some(line..if text[end..].starts_with('\n') { end + 1 } else { end })
}

/// The dash of an object that becomes a part of the one before it. Both are blocks of the same indentation.
fn dash(document: &Document, text: &str, path: &FieldPath) -> Option<Range<usize>> {
    let (Step::Index(index), above) = path.0.split_last()? else { return None };
    let parent = document.get(&FieldPath(above.to_vec()))?;
    let Value::Seq(items) = &parent.value else { return None };
    let (before, node) = (items.get(index.checked_sub(1)?)?, items.get(*index)?);
    let first = |node: &Node| match &node.value {
        Value::Map(entries) if !node.flow => Some(entries.first()?.key_span.known()?.range().start),
        _ => None,
    };
    let (before, start) = (first(before)?, first(node)?);
    let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let dash = line + text[line..start].find('-')?;
    let alone = text[line..start].trim() == "-" && column(text, before) == column(text, start);
    alone.then_some(dash..dash + 1)
}

fn line_end(text: &str, from: usize) -> usize {
    // The end of a block can be the start of the next line.
    let from = if from > 0 && text[..from].ends_with('\n') { from - 1 } else { from };
    text[from..].find('\n').map_or(text.len(), |at| from + at)
}

fn column(text: &str, at: usize) -> usize {
    let line = text[..at].rfind('\n').map_or(0, |at| at + 1);
    text[line..at].chars().count()
}

#[cfg(test)]
mod tests {
    use gatewatch_policy::source::parse;

    use super::*;

    /// Steps by dots; numbers are elements.
    fn path(text: &str) -> FieldPath {
        text.split('.').filter(|step| !step.is_empty()).fold(FieldPath::root(), |path, step| {
            match step.parse() {
                Ok(index) => path.index(index),
                Err(_) => path.field(step),
            }
        })
    }

    fn edited(text: &str, at: &str, edit: Edit) -> Option<String> {
        let fix = Fix { title: String::new(), path: path(at), edit, safe: true };
        let change = change(&parse(text)[0], text, &fix)?;
        let new = apply(text, vec![change]).0;
        assert!(parse(&new)[0].complete, "{new}");
        Some(new)
    }

    #[test]
    fn only_what_is_meant_changes() {
        let text = "a: 1  # one\nlist:\n  # first\n  - x: 1 # x\n    k: 2\n  - z\nblocks:\n  - m: 1\n  - n: 2\n    o: [1] # last\n\n# flow\nflow: {p: q, r: [s]}\n";
        let replace = |yaml: &str| Edit::Replace(yaml.to_owned());
        let rename = |name: &str| Edit::Rename(name.to_owned());
        let add = |name: &str, yaml: &str| Edit::AddField(name.to_owned(), yaml.to_owned());
        let append = |yaml: &str| Edit::Append(yaml.to_owned());
        for (at, edit, old, new) in [
            ("a", replace("\"1\""), "a: 1  # one", "a: \"1\"  # one"),
            ("list.0.x", rename("w"), "- x: 1 # x", "- w: 1 # x"),
            ("list.0", add("v", "3"), "    k: 2\n", "    k: 2\n    v: 3\n"),
            ("", add("b", "2"), "# one\n", "# one\nb: 2\n"),
            ("list", append("n"), "  - z\n", "  - z\n  - n\n"),
            ("blocks", append("{p: q}"), "    o: [1] # last\n", "    o: [1] # last\n  - {p: q}\n"),
            ("flow", add("t", "u"), "[s]}", "[s], t: u}"),
            ("flow.r", append("t"), "[s]", "[s, t]"),
            ("flow.p", Edit::Remove, "{p: q, r", "{r"),
            ("flow.r", Edit::Remove, "{p: q, r: [s]}", "{p: q}"),
            ("list.0.k", Edit::Remove, "    k: 2\n", ""),
            ("list.1", Edit::Remove, "  - z\n", ""),
            ("a", Edit::Remove, "a: 1  # one\n", ""),
            ("blocks.1", Edit::Join, "  - n: 2\n", "    n: 2\n"),
        ] {
            let expected = text.replacen(old, new, 1);
            assert_ne!(expected, text);
            assert_eq!(edited(text, at, edit.clone()).as_deref(), Some(&*expected), "{at} {edit:?}");
        }
    }

    #[test]
    fn what_cannot_be_done_by_bytes_is_left() {
        let text = "list:\n  - a: 1\n    b: 2\nempty: {}\n";
        assert_eq!(edited(text, "list", Edit::Replace("[]".to_owned())), None);
        // It begins on its element's line.
        assert_eq!(edited(text, "list.0.a", Edit::Remove), None);
        assert_eq!(edited(text, "list.0", Edit::Remove), None);
        assert_eq!(edited(text, "nothing", Edit::Remove), None);
        assert_eq!(edited(text, "list.0", Edit::Join), None);
        assert_eq!(edited("list: [{a: 1}, {b: 2}]\n", "list.1", Edit::Join), None);
        assert_eq!(edited("list:\n- a: 1\n-   b: 2\n", "list.1", Edit::Join), None);
        let json = "{\"a\": 1, \"b\": {}}";
        assert_eq!(edited(json, "a", Edit::Replace("x".to_owned())), None);
        assert_eq!(
            edited(json, "a", Edit::Replace("\"x\"".to_owned())).as_deref(),
            Some("{\"a\": \"x\", \"b\": {}}")
        );
        assert_eq!(edited(json, "a", Edit::Rename("c".to_owned())).as_deref(), Some("{\"c\": 1, \"b\": {}}"));
        assert_eq!(
            edited(json, "b", Edit::AddField("c".to_owned(), "2".to_owned())).as_deref(),
            Some("{\"a\": 1, \"b\": {\"c\": 2}}")
        );
    }

    #[test]
    fn of_changes_that_touch_the_first_is_made() {
        let change = |start, end, text: &str| Change { range: (start, end), text: text.to_owned() };
        let changes = vec![change(2, 4, "x"), change(3, 5, "y"), change(0, 1, "z"), change(0, 1, "z")];
        assert_eq!(apply("abcdef", changes), ("zbxef".to_owned(), 2));
    }
}
