//! The descriptions of a chart's values, from the comments in its values.yaml. The rules are those of helm-docs:
//!
//! * A comment that begins with `# --` describes the key below it. The comment lines that follow continue it.
//! * A described value is one row: its keys joined by dots, its default as JSON, and the description as Markdown.
//! * A description of a map or a list covers everything in it. Every value has a description or is covered by one.
//!
//! helm-docs' annotations (`@default`, `@ignore`, `@section`, types in parentheses) are not supported. The tool itself is not
//! used: it accepts values without a description, and would be one more Go program to build for forty lines.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// What marks a description.
const MARK: &str = "# --";

/// One described value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its keys, joined by dots.
    pub(crate) path: String,
    /// What it is when nothing is set, as JSON.
    pub(crate) default: String,
    /// What it means, as Markdown.
    pub(crate) meaning: String,
}

/// The rows of a values.yaml, in its order. An error names the first value that nothing describes.
pub(crate) fn rows(text: &str) -> Result<Vec<Row>> {
    let values: Value = serde_saphyr::from_str(text).context("values.yaml is not YAML")?;
    let mut rows: Vec<Row> = Vec::new();
    // The keys that the present line is below, each with its indentation.
    let mut parents: Vec<(usize, String)> = Vec::new();
    let mut meaning: Option<String> = None;
    for line in text.lines() {
        let indentation = line.len() - line.trim_start().len();
        let line = line.trim();
        if let Some(begin) = line.strip_prefix(MARK) {
            meaning = Some(begin.trim().to_owned());
        } else if let Some(more) = line.strip_prefix('#') {
            if let Some(meaning) = &mut meaning {
                meaning.push(' ');
                meaning.push_str(more.trim());
            }
        } else if let Some((key, _)) = key_of(line) {
            parents.retain(|(of_parent, _)| *of_parent < indentation);
            parents.push((indentation, key.to_owned()));
            let path: Vec<&str> = parents.iter().map(|(_, key)| key.as_str()).collect();
            // Keys inside of lists, and below a value that is described as a whole, have no path of their own.
            let described = rows.iter().any(|row| is_below(&path.join("."), &row.path));
            let Some(value) = path.iter().try_fold(&values, |value, key| value.get(*key)) else {
                meaning = None;
                continue;
            };
            match meaning.take() {
                Some(meaning) => {
                    rows.push(Row { path: path.join("."), default: value.to_string(), meaning });
                }
                None if !described && is_leaf(value) => {
                    bail!(
                        "values.yaml: nothing describes {}: write a comment that begins \"{MARK}\" above it",
                        path.join(".")
                    );
                }
                None => {}
            }
        } else {
            meaning = None;
        }
    }
    Ok(rows)
}

/// `key` and the rest of `key: rest`; nothing for lines that are no keys of a map.
fn key_of(line: &str) -> Option<(&str, &str)> {
    let (key, rest) = line.split_once(':')?;
    let plain = !key.is_empty()
        && key.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./".contains(letter));
    (plain && !key.starts_with("- ")).then_some((key, rest))
}

fn is_below(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.starts_with('.'))
}

fn is_leaf(value: &Value) -> bool {
    value.as_object().is_none_or(serde_json::Map::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_rows() {
        let text = "# a file\n\n# -- The first,\n# on two lines\nfirst: \"\"\nsecond:\n  # -- A list\n  list:\n    - key: value\n  \
                    # -- Whole\n  whole:\n    part: 1\n";
        let rows = rows(text).unwrap();
        let plain: Vec<(&str, &str, &str)> =
            rows.iter().map(|row| (&*row.path, &*row.default, &*row.meaning)).collect();
        assert_eq!(
            plain,
            [
                ("first", "\"\"", "The first, on two lines"),
                ("second.list", "[{\"key\":\"value\"}]", "A list"),
                ("second.whole", "{\"part\":1}", "Whole"),
            ]
        );
    }

    #[test]
    fn a_value_without_a_description_is_an_error() {
        let error = rows("a:\n  # -- Described\n  b: 1\n  c: {}\n").unwrap_err();
        assert!(error.to_string().contains("a.c"), "{error}");
    }
}
