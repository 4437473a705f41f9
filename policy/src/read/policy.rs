//! The object itself: `metadata` and the fields directly under `spec`.

use std::collections::BTreeMap;

use super::{
    cursor::Cursor,
    fields::Object,
    hooks::{fentry, kprobe, lsm_hook, tracepoint, uprobe, usdt},
    names::{LIST, METADATA, SPEC, TOP},
    selectors::{self, label_selector, selector},
};
use crate::{
    codes::BAD_NAME,
    diagnostic::{Diagnostic, Edit, Fix},
    model::{Hook, Kind, List, ListType, Policy, Section, Spec},
    names,
    synonyms::WordKind,
};

/// Reads the whole object.
pub(super) fn policy(cursor: &Cursor<'_>, kind: Kind) -> Policy {
    let mut policy = Policy { kind, ..Policy::default() };
    let Some(object) = cursor.object(TOP) else { return policy };
    let metadata = object.required("metadata", "{name: …}");
    if let Some(metadata) = metadata.as_ref().and_then(|c| c.object(METADATA)) {
        read_metadata(&metadata, &mut policy);
    }
    let spec = object.required("spec", "…");
    if let Some(spec) = spec.as_ref().and_then(|c| c.object(SPEC)) {
        policy.spec = read_spec(&spec);
    }
    policy
}

fn read_metadata(metadata: &Object<'_>, policy: &mut Policy) {
    policy.namespace = metadata.text("namespace");
    policy.annotations = texts_by_name(metadata, "annotations");
    // Checked for its form only.
    let _ = texts_by_name(metadata, "labels");
    let name = match metadata.get("name") {
        // The API server will make one.
        None if metadata.get("generateName").is_some() => return,
        None => metadata.required("name", "…"),
        name => name,
    };
    let Some(name) = name else { return };
    policy.name = name.text().unwrap_or_default();
    if let Err(e) = names::subdomain(&policy.name) {
        let diagnostic = Diagnostic::new(
            &BAD_NAME,
            name.path(),
            format!("invalid object name {:?}: {e}; the API server rejects the policy", policy.name),
        );
        let better: String = policy
            .name
            .trim()
            .chars()
            .map(|c| if matches!(c, '_' | ' ') { '-' } else { c.to_ascii_lowercase() })
            .collect();
        name.report(if names::subdomain(&better).is_ok() {
            diagnostic.fix(Fix {
                title: format!("write `{better}`"),
                path: name.path(),
                edit: Edit::Replace(better),
                safe: false,
            })
        } else {
            diagnostic
        });
    }
}

fn texts_by_name(object: &Object<'_>, name: &str) -> BTreeMap<String, String> {
    let Some(map) = object.get(name) else { return BTreeMap::new() };
    selectors::texts_by_name(&map)
}

fn read_spec(spec: &Object<'_>) -> Spec {
    let labels = |name| spec.get(name).map(|c| label_selector(&c));
    let hooks = |section: Section, read: fn(&Cursor<'_>) -> Hook| spec.list(section.name(), read);
    Spec {
        pod_selector: labels("podSelector"),
        container_selector: labels("containerSelector"),
        host_selector: labels("hostSelector"),
        node_selector: labels("nodeSelector"),
        kprobes: hooks(Section::Kprobes, kprobe),
        fentries: hooks(Section::Fentries, fentry),
        tracepoints: hooks(Section::Tracepoints, tracepoint),
        lsm_hooks: hooks(Section::LsmHooks, lsm_hook),
        uprobes: hooks(Section::Uprobes, uprobe),
        usdts: hooks(Section::Usdts, usdt),
        loader: spec.flag("loader"),
        lists: spec.list("lists", list),
        enforcers: spec.list("enforcers", |c| {
            c.object(&["calls"]).map(|object| object.required_texts("calls")).unwrap_or_default()
        }),
        options: spec.list("options", |c| match c.object(&["name", "value"]) {
            Some(object) => (
                object.required_text("name", "disable-kprobe-multi"),
                object.text("value").unwrap_or_default(),
            ),
            None => Default::default(),
        }),
        selectors_macros: spec.get("selectorsMacros").map(|c| macros(&c)).unwrap_or_default(),
    }
}

fn macros(cursor: &Cursor<'_>) -> BTreeMap<String, crate::model::Selector> {
    selectors::members(cursor)
        .into_iter()
        .map(|(name, node)| (name.to_owned(), selector(&cursor.member(name, node))))
        .collect()
}

fn list(cursor: &Cursor<'_>) -> List {
    let Some(object) = cursor.object(LIST) else { return List::default() };
    List {
        name: object.required_text("name", "…"),
        ty: object
            .get("type")
            .and_then(|c| c.named_word(WordKind::Other, "list type", ListType::NAMES))
            .and_then(ListType::from_name),
        values: object.texts("values"),
        pattern: object.text("pattern"),
        validated: object.flag("validated"),
    }
}
