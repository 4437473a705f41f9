//! For programs: one object a line.

use std::borrow::Cow;

use serde::Serialize;

use super::File;
use crate::{
    diagnostic::{Edit, Fix},
    source::Located,
};

#[derive(Serialize)]
struct Object<'a> {
    code: &'static str,
    severity: String,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    file: &'a str,
    /// From 1; absent where there is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// From 1, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    path: String,
    /// The programs that it is about: `gatewatch`, `tetragon`, `tetragon>=1.7`.
    targets: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<Repair<'a>>,
}

#[derive(Serialize)]
struct Repair<'a> {
    title: &'a str,
    path: String,
    safe: bool,
    /// `replace`, `add`, `append`, `remove` or `rename`.
    edit: &'static str,
    /// The member's name, for `add`.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    /// YAML, of `extend` an array of it; for `rename` the new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Cow<'a, str>>,
}

impl<'a> Repair<'a> {
    fn new(fix: &'a Fix) -> Self {
        let (edit, name, value) = match &fix.edit {
            Edit::Replace(yaml) => ("replace", None, Some(yaml.into())),
            Edit::AddField(name, yaml) => ("add", Some(name.as_str()), Some(yaml.into())),
            Edit::Append(yaml) => ("append", None, Some(yaml.into())),
            Edit::Extend(all) => ("extend", None, Some(format!("[{}]", all.join(", ")).into())),
            Edit::Remove => ("remove", None, None),
            Edit::Join => ("join", None, None),
            Edit::Rename(name) => ("rename", None, Some(name.into())),
        };
        Self { title: &fix.title, path: fix.path.to_string(), safe: fix.safe, edit, name, value }
    }
}

/// A finding as one line of JSON, without the line's end.
pub fn render(file: &File<'_>, finding: &Located) -> String {
    let diagnostic = &finding.diagnostic;
    let position = file.position(finding);
    let object = Object {
        code: diagnostic.code.id,
        severity: diagnostic.severity.to_string(),
        message: &diagnostic.message,
        help: diagnostic.help.as_deref(),
        file: file.name,
        line: position.map(|p| p.line),
        column: position.map(|p| p.column),
        path: diagnostic.path.to_string(),
        targets: diagnostic.targets.names(),
        fix: diagnostic.fix.as_ref().map(Repair::new),
    };
    // Strings and numbers alone: nothing in it can fail.
    serde_json::to_string(&object).unwrap_or_default()
}
