//! Selectors without a filter beside selectors with filters. The usual cause is a dash too many before
//! `matchActions`, which makes a selector of its own of it.

use super::located::{LocatedHook, LocatedPolicy};
use crate::{
    codes::UNFILTERED_SELECTOR,
    diagnostic::{Diagnostic, Edit, FieldPath, Fix},
    model::{Action, ActionKind, Selector},
};

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for place in &places.hooks {
        found.extend(of_hook(places, place));
    }
}

/// The first selector without a filter that takes the effect of the filters before it. What follows it is never
/// reached, which is reported elsewhere.
fn of_hook(places: &LocatedPolicy<'_>, place: &LocatedHook<'_>) -> Option<Diagnostic> {
    // A selector with a misspelled filter is not one without filters.
    let (index, (all, path)) = place
        .selectors()
        .enumerate()
        .find(|(index, (selector, _))| unfiltered(selector) && !places.filters_are_guess(place, *index))?;
    if places.actions_are_guess(place, index) {
        return None;
    }
    let before: Vec<&Selector> = place.selectors().take(index).map(|(selector, _)| selector).collect();
    // Other actions for what passes a filter, and the rest for all others: that is how exceptions are written.
    let useless = before.iter().enumerate().position(|(index, selector)| {
        !places.actions_are_guess(place, index) && same_effect(selector, all)
    })?;
    let others = (before.len() == 1).then_some("the filter before it has no effect");
    let message = format!(
        "this selector has no filter, so the hook matches every call and {}",
        others.map_or_else(|| format!("the filters of `selectors[{useless}]` have no effect"), str::to_owned)
    );
    let diagnostic = Diagnostic::new(&UNFILTERED_SELECTOR, path.clone(), message)
        .help("remove the dash before it, so that it is one selector with the one above");
    Some(match join(place, index, path) {
        Some(fix) => diagnostic.fix(fix),
        None => diagnostic,
    })
}

/// Whether a selector takes every call.
pub(super) fn unfiltered(selector: &Selector) -> bool {
    let s = selector;
    s.match_args.is_empty()
        && s.match_data.is_empty()
        && s.match_return_args.is_empty()
        && s.match_binaries.is_empty()
        && s.match_parent_binaries.is_empty()
        && s.match_pids.is_empty()
        && s.match_namespaces.is_empty()
        && s.match_capabilities.is_empty()
        && s.match_namespace_changes.is_empty()
        && s.match_capability_changes.is_empty()
        && s.match_workloads.is_empty()
        && s.macros.is_empty()
}

/// Whether both selectors do the same with an event, or the first has no actions and the second has some.
fn same_effect(filtered: &Selector, all: &Selector) -> bool {
    let silent = filtered.match_actions.is_empty() && filtered.match_return_actions.is_empty();
    if silent && !all.match_actions.is_empty() {
        return true;
    }
    posted(&filtered.match_actions) == posted(&all.match_actions)
        && filtered.match_return_actions == all.match_return_actions
}

/// The actions, with the one that no action means left out.
fn posted(actions: &[Action]) -> Vec<&Action> {
    actions
        .iter()
        .filter(|action| action.kind != Some(ActionKind::Post) || !action.fields.is_empty())
        .collect()
}

/// The two selectors as one. If the actions are the same, or those that no action means, the second can be removed. If
/// the first has none, it takes those of the second.
fn join(place: &LocatedHook<'_>, index: usize, path: &FieldPath) -> Option<Fix> {
    let (above, all) = (place.hook.selectors.get(index.checked_sub(1)?)?, place.hook.selectors.get(index)?);
    let silent = above.match_actions.is_empty() && above.match_return_actions.is_empty();
    let same = posted(&above.match_actions) == posted(&all.match_actions)
        && above.match_return_actions == all.match_return_actions;
    let (title, edit) = if same {
        ("remove this selector: the one before it has the same actions", Edit::Remove)
    } else if silent {
        ("join it with the selector before it", Edit::Join)
    } else {
        return None;
    };
    // It changes what is counted.
    Some(Fix { title: title.to_owned(), path: path.clone(), edit, safe: false })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_spec, reported};
    use crate::diagnostic::Edit;

    const FILTER: &str = "matchArgs: [{index: 0, operator: Prefix, values: [/etc/shadow]}]";

    fn with(selectors: &[&str]) -> Vec<String> {
        let list: Vec<String> = selectors.iter().map(|selector| format!("{{{selector}}}")).collect();
        reported(&format!(
            "podSelector: {{matchLabels: {{a: b}}}}\nkprobes: [{{call: security_file_open, syscall: false, args: \
             [{{index: 0, type: file}}], selectors: [{}]}}]",
            list.join(", ")
        ))
    }

    #[test]
    fn a_dash_too_many() {
        let second = ["GW321 spec.kprobes[0].selectors[1]"];
        assert_eq!(with(&[FILTER, "matchActions: [{action: Post}]"]), second);
        assert_eq!(with(&[FILTER, ""]), second);
        assert_eq!(with(&[FILTER, "matchActions: [{action: Sigkill}]"]), second);
        let both = format!("{FILTER}, matchActions: [{{action: Sigkill}}]");
        assert_eq!(with(&[&both, "matchActions: [{action: Sigkill}]"]), second);
        let own = "matchPIDs: [{operator: In, values: [7]}]";
        assert_eq!(with(&[FILTER, own, ""]), ["GW321 spec.kprobes[0].selectors[2]"]);
    }

    #[test]
    fn the_fix_joins_both() {
        let edit = |second: &str| {
            let spec = format!("kprobes: [{{call: sys_dup, selectors: [{{{FILTER}}}, {{{second}}}]}}]");
            let found = check_spec(&spec);
            let found = found.into_iter().find(|found| found.code.id == "GW321");
            found.and_then(|found| found.fix).map(|fix| fix.edit)
        };
        assert_eq!(edit("matchActions: [{action: Post}]"), Some(Edit::Remove));
        assert_eq!(edit("matchActions: [{action: Sigkill}]"), Some(Edit::Join));
        assert_eq!(edit("matchActions: [{action: Post, rateLimit: 1m}]"), Some(Edit::Join));
    }

    #[test]
    fn exceptions_and_lone_selectors_are_meant() {
        assert_eq!(with(&[""]), [""; 0]);
        assert_eq!(with(&[FILTER]), [""; 0]);
        let except = format!("{FILTER}, matchActions: [{{action: NoPost}}]");
        assert_eq!(with(&[&except, "matchActions: [{action: Post}]"]), [""; 0]);
        let kill = format!("{FILTER}, matchActions: [{{action: Sigkill}}]");
        assert_eq!(with(&[&kill, "matchActions: [{action: Post}]"]), [""; 0]);
    }
}
