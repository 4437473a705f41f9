//! Names that earlier releases of Tetragon had. A policy that uses them is read as if it had today's names, and each finding
//! is about the place as it is written.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    codes::OLDER_NAME,
    diagnostic::{Diagnostic, FieldPath, Fix, Severity, Step},
    history::{Change, Renamed, Use},
    source::{Node, Value},
};

/// An object with today's names.
pub(crate) struct Modern<'a> {
    /// The object. Its values have the places that they have in the text.
    pub(crate) node: Cow<'a, Node>,
    /// Where its members are in the text.
    pub(crate) written: Written,
    /// What was read by an older name.
    pub(crate) found: Vec<Diagnostic>,
}

/// The members that are written under another name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    /// By the path with today's names: the path in the text.
    in_text: BTreeMap<FieldPath, FieldPath>,
    /// By the path in the text: the path with today's names.
    today: BTreeMap<FieldPath, FieldPath>,
}

impl<'a> Modern<'a> {
    /// Renames what has an older name, out of the parts that the object uses. A member stays as it is if today's name is there
    /// too: no release reads both.
    pub(crate) fn of(object: &'a Node, uses: &[Use]) -> Self {
        let mut modern = Self { node: Cow::Borrowed(object), written: Written::default(), found: Vec::new() };
        let mut outer: Option<&Use> = None;
        for used in uses {
            let Some(renamed) = used.renamed() else { continue };
            let is_inner = outer.is_some_and(|outer| used.is_inside(outer));
            outer = if is_inner { outer } else { Some(used) };
            let Some((Step::Field(old), around)) = used.path().0.split_last() else { continue };
            let around = modern.written.modern(&FieldPath(around.to_vec()));
            let Renamed { new, change, .. } = renamed;
            let has_both =
                used.is_field() && modern.node.at(&around).is_some_and(|node| node.get(new).is_some());
            if has_both {
                continue;
            }
            let Some(node) = modern.node.to_mut().at_mut(&around) else { continue };
            let Some(entry) = node.entry_mut(old) else { continue };
            if used.is_field() {
                new.clone_into(&mut entry.key);
                let path = around.field(new);
                modern.written.add(path.clone(), used.path());
                if change == Change::List && entry.value.as_str().is_some() {
                    let span = entry.value.span;
                    let one = std::mem::replace(&mut entry.value, Node::null(span));
                    entry.value.value = Value::Seq(vec![one]);
                    // An element that no text has.
                    modern.written.in_text.insert(path.index(0), used.path().clone());
                }
            } else {
                entry.value.value = Value::String(new.to_owned());
            }
            if !is_inner {
                modern.found.push(read_as(used, renamed));
            }
        }
        modern
    }
}

/// That a part was read by its older name.
fn read_as(used: &Use, renamed: Renamed) -> Diagnostic {
    let effect = if used.is_field() { "silently drops it" } else { "rejects the policy" };
    let message = format!(
        "`{}` is read as `{}`, its name since Tetragon {}; an API server with a later definition {effect}",
        used.name(),
        renamed.new,
        renamed.since,
    );
    let diagnostic = Diagnostic::new(&OLDER_NAME, used.path().clone(), message);
    used.rewritten(if used.is_field() { diagnostic.at_key() } else { diagnostic }, renamed)
}

impl Written {
    fn add(&mut self, today: FieldPath, in_text: &FieldPath) {
        self.today.insert(in_text.clone(), today.clone());
        self.in_text.insert(today, in_text.clone());
    }

    /// The path with today's names of a path in the text.
    fn modern(&self, path: &FieldPath) -> FieldPath {
        replaced(path, &self.today)
    }

    /// Findings about the object with today's names as findings about the text.
    pub(crate) fn restore(&self, mut found: Vec<Diagnostic>) -> Vec<Diagnostic> {
        if self.in_text.is_empty() {
            return found;
        }
        for diagnostic in &mut found {
            diagnostic.path = replaced(&diagnostic.path, &self.in_text);
            if let Some(Fix { path, .. }) = &mut diagnostic.fix {
                *path = replaced(path, &self.in_text);
            }
        }
        found
    }
}

/// A path whose longest beginning that has another one has that instead.
fn replaced(path: &FieldPath, others: &BTreeMap<FieldPath, FieldPath>) -> FieldPath {
    for length in (0..=path.0.len()).rev() {
        if let Some(other) = others.get(&FieldPath(path.0[..length].to_vec())) {
            return FieldPath([&other.0, &path.0[length..]].concat());
        }
    }
    path.clone()
}

/// A finding of the shipped schemas about a word that only earlier releases have. It keeps the policy out of an API server
/// that has these definitions, and the agent runs it from a file all the same. `None` where that is reported already: of a
/// word that is read by its older name.
pub(crate) fn soften(diagnostic: Diagnostic, uses: &[Use]) -> Option<Diagnostic> {
    let is_about = |part: &&Use| part.is_removed() && *part.path() == diagnostic.path;
    let Some(word) = uses.iter().find(is_about) else { return Some(diagnostic) };
    word.renamed().is_none().then(|| {
        diagnostic.severity(Severity::Warning).help(
            "install a CustomResourceDefinition that allows this value, or give the agent the policy as a file",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codes::NO_EFFECT, history::uses, source::parse};

    /// The object with today's names, as JSON, and what was read by an older name.
    fn modern(spec: &str) -> (serde_json::Value, Vec<String>, Written) {
        let document = &parse(&format!("spec: {spec}"))[0];
        let Modern { node, written, found } = Modern::of(&document.root, &uses(&document.root));
        let places = found.iter().map(|d| format!("{} {}", d.code.id, d.path)).collect();
        (node.to_json()["spec"].clone(), places, written)
    }

    fn same(older: &str, today: &str, places: &[&str]) {
        let (node, found, _) = modern(older);
        assert_eq!(node, parse(today)[0].root.to_json(), "{older}");
        assert_eq!(found, places.iter().map(|place| format!("GW020 {place}")).collect::<Vec<_>>());
    }

    #[test]
    fn older_names_are_read_as_those_of_today() {
        same("{killers: [{syscalls: [sys_dup]}]}", "{enforcers: [{calls: [sys_dup]}]}", &["spec.killers"]);
        let at = "spec.kprobes[0].selectors[0].matchActions[0]";
        let with = |action: &str| format!("{{kprobes: [{{selectors: [{{matchActions: [{{{action}}}]}}]}}]}}");
        same(
            &with("action: NotifyKiller, argError: -1"),
            &with("action: NotifyEnforcer, argError: -1"),
            &[&format!("{at}.action")],
        );
        same(
            &with("action: Post, stackTrace: true"),
            &with("action: Post, kernelStackTrace: true"),
            &[&format!("{at}.stackTrace")],
        );
        same(
            "{uprobes: [{path: /a, symbol: f}, {path: /b, symbols: [g]}]}",
            "{uprobes: [{path: /a, symbols: [f]}, {path: /b, symbols: [g]}]}",
            &["spec.uprobes[0].symbol"],
        );
        let with = |field: &str| format!("{{selectorsMacros: {{m: {{matchActions: [{{{field}: true}}]}}}}}}");
        let place = "spec.selectorsMacros.m.matchActions[0].stackTrace";
        same(&with("stackTrace"), &with("kernelStackTrace"), &[place]);
    }

    #[test]
    fn a_name_in_another_place_is_no_older_name() {
        for spec in [
            "{kprobes: [{symbol: f, call: NotifyKiller}], podSelector: {matchLabels: {killers: a, stackTrace: b}}}",
            "{enforcers: [{syscalls: [sys_dup]}]}",
            // No release has both names.
            "{uprobes: [{symbol: f, symbols: [g]}]}",
        ] {
            same(spec, spec, &[]);
        }
        let (node, found, _) = modern("{killers: [{syscalls: [a]}], enforcers: [{calls: [b]}]}");
        assert!(node.get("killers").is_some() && found.is_empty(), "{node} {found:?}");
    }

    #[test]
    fn findings_are_about_the_text() {
        let (_, _, written) = modern("{killers: [{syscalls: [a]}], uprobes: [{symbol: f}]}");
        let uprobe = FieldPath::root().field("spec").field("uprobes").index(0);
        let calls = FieldPath::root().field("spec").field("enforcers").index(0).field("calls").index(0);
        for (path, expected) in [
            (calls, "spec.killers[0].syscalls[0]"),
            (uprobe.field("symbols"), "spec.uprobes[0].symbol"),
            (uprobe.field("symbols").index(0), "spec.uprobes[0].symbol"),
            (uprobe.field("path"), "spec.uprobes[0].path"),
        ] {
            let found = written.restore(vec![Diagnostic::new(&NO_EFFECT, path, "m")]);
            assert_eq!(found[0].path.to_string(), expected);
        }
    }
}
