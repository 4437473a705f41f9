//! The members of an object: allowed, present and required ones.

use super::{
    cursor::Cursor,
    names::{ACTION, ARG, LABEL_SELECTOR, SELECTOR, SPEC},
};
use crate::{
    codes::{MISSING_FIELD, UNKNOWN_FIELD},
    diagnostic::{Diagnostic, Edit, Fix},
    labels::NAMESPACE_KEY,
    nearest::nearest,
    source::{Entry, Value},
};

/// An object that is being read.
pub(super) struct Object<'a> {
    cursor: &'a Cursor<'a>,
    entries: &'a [Entry],
}

impl<'a> Cursor<'a> {
    /// The members, after those that aren't `known` have been reported.
    pub(super) fn object(&'a self, known: &'a [&'static str]) -> Option<Object<'a>> {
        if let Value::Map(entries) = &self.node.value {
            return Some(Object::new(self, entries, known));
        }
        self.report(self.wrong_type("a mapping"));
        None
    }
}

impl<'a> Object<'a> {
    /// Reports the members that aren't known.
    pub(super) fn new(cursor: &'a Cursor<'a>, entries: &'a [Entry], known: &[&'static str]) -> Self {
        let is_known = |entry: &&Entry| known.contains(&entry.key.as_str());
        if !entries.iter().all(|entry| is_known(&entry)) {
            // A name that is there already isn't the intended one.
            let written: Vec<&str> =
                entries.iter().filter(is_known).map(|entry| entry.key.as_str()).collect();
            let free: Vec<&str> = known.iter().copied().filter(|name| !written.contains(name)).collect();
            for entry in entries.iter().filter(|entry| !is_known(entry)) {
                cursor.report(unknown(cursor, entry, &free));
            }
        }
        Self { cursor, entries }
    }

    pub(super) fn cursor(&self) -> &'a Cursor<'a> {
        self.cursor
    }

    /// A member that isn't null.
    pub(super) fn get(&self, name: &str) -> Option<Cursor<'a>> {
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        (!entry.value.is_null()).then(|| self.cursor.member(&entry.key, &entry.value))
    }

    /// A member that must be there, which is reported otherwise; `example` is a value it could have.
    pub(super) fn required(&self, name: &str, example: &str) -> Option<Cursor<'a>> {
        let found = self.get(name);
        if found.is_none() {
            let path = self.cursor.path();
            let diagnostic = Diagnostic::new(
                &MISSING_FIELD,
                path.field(name),
                format!("missing `{name}`; the API server rejects the policy"),
            )
            .help(format!("add `{name}: {example}`"));
            self.cursor.report(diagnostic);
        }
        found
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.text()
    }

    pub(super) fn required_text(&self, name: &str, example: &str) -> String {
        self.required(name, example).and_then(|c| c.text()).unwrap_or_default()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name).and_then(|c| c.flag()).unwrap_or_default()
    }

    pub(super) fn number(&self, name: &str) -> u32 {
        self.get(name).and_then(|c| c.number(0, u32::MAX)).unwrap_or_default()
    }

    pub(super) fn list<T>(&self, name: &str, element: impl FnMut(&Cursor<'_>) -> T) -> Vec<T> {
        self.get(name).map(|c| c.list(element)).unwrap_or_default()
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        self.list(name, |c| c.text().unwrap_or_default())
    }

    pub(super) fn required_texts(&self, name: &str) -> Vec<String> {
        self.required(name, "[…]").map(|c| c.list(|c| c.text().unwrap_or_default())).unwrap_or_default()
    }
}

fn unknown(cursor: &Cursor<'_>, entry: &Entry, free: &[&str]) -> Diagnostic {
    let path = cursor.path().field(&entry.key);
    let diagnostic = Diagnostic::new(
        &UNKNOWN_FIELD,
        path.clone(),
        format!("unknown field `{}`; the API server silently drops it", entry.key),
    )
    .at_key();
    if let Some(help) = of_namespaces(&entry.key, free) {
        return diagnostic.help(help);
    }
    if let Some(name) = nearest(&entry.key, free.iter().copied()) {
        return diagnostic.help(format!("did you mean `{name}`?")).fix(Fix {
            title: format!("write `{name}`"),
            path,
            edit: Edit::Rename(name.to_owned()),
            safe: name.eq_ignore_ascii_case(&entry.key),
        });
    }
    match home(&entry.key) {
        Some(place) => diagnostic.help(format!("`{}` belongs {place}", entry.key)),
        None => diagnostic,
    }
}

/// What to write instead of a field by which namespaces of Kubernetes would be selected. In an entry of `selectors`
/// some of these are fields, and about namespaces of the kernel.
fn of_namespaces(name: &str, free: &[&str]) -> Option<String> {
    const FIELDS: [&str; 7] = [
        "namespaceSelector",
        "namespacesSelector",
        "namespace",
        "namespaces",
        "matchNamespace",
        "matchNamespaces",
        "matchNames",
    ];
    (FIELDS.contains(&name) && !free.contains(&"values")).then(|| {
        format!(
            "pods of a Kubernetes namespace are watched by a `TracingPolicyNamespaced` in it, or by `podSelector: \
             {{matchLabels: {{\"{NAMESPACE_KEY}\": NAME}}}}`"
        )
    })
}

/// Where a field that was written in the wrong place belongs.
fn home(name: &str) -> Option<&'static str> {
    const HOMES: [(&[&str], &str); 5] = [
        (SPEC, "directly under `spec`"),
        (SELECTOR, "in an entry of `selectors`"),
        (LABEL_SELECTOR, "under `podSelector`, `containerSelector` or `nodeSelector`"),
        (ACTION, "in an entry of `matchActions`"),
        (ARG, "in an entry of `args`"),
    ];
    HOMES.iter().find(|(fields, _)| fields.contains(&name)).map(|(_, place)| *place)
}
