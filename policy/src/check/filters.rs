//! Filters that the compiler does not check: those of hooks other than kprobes, on `data`, on changes, and in
//! macros.

mod process;

use self::process::{changes, process};
use super::located::{LocatedHook, LocatedPolicy};
use crate::{
    codes::{RETURN_FILTER, UNDECLARED_ARG},
    diagnostic::{Diagnostic, FieldPath},
    filter_rules::{argument, undeclared},
    model::{ArgType, Section, Selector},
};

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for place in &places.hooks {
        for (selector, path) in place.selectors() {
            if place.section != Section::Kprobes {
                arguments(place, selector, path, found);
                process(selector, path, found);
            }
            data(place, selector, path, found);
            changes(selector, path, found);
        }
    }
    for (selector, path) in &places.macros {
        // Which types the arguments have depends on the hook that uses the macro.
        for (name, filters) in [
            ("matchArgs", &selector.match_args),
            ("matchData", &selector.match_data),
            ("matchReturnArgs", &selector.match_return_args),
        ] {
            for (i, filter) in filters.iter().enumerate() {
                argument(ArgType::Nop, filter, &path.field(name).index(i), found);
            }
        }
        process(selector, path, found);
        changes(selector, path, found);
    }
}

fn arguments(place: &LocatedHook<'_>, selector: &Selector, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    for (i, filter) in selector.match_args.iter().enumerate() {
        let path = path.field("matchArgs").index(i);
        if let Some(missing) = undeclared(place.hook, filter, &path) {
            found.push(missing);
        } else if let Some(arg) = place.hook.filtered_arg(filter) {
            argument(arg.ty, filter, &path, found);
        }
    }
    for (i, filter) in selector.match_return_args.iter().enumerate() {
        let path = path.field("matchReturnArgs").index(i);
        match (&place.hook.return_arg, place.hook.on_return) {
            (Some(arg), true) => argument(arg.ty, filter, &path, found),
            _ => found.push(Diagnostic::new(
                &RETURN_FILTER,
                path,
                "`matchReturnArgs` requires `return: true` and `returnArg`; without them it is silently ignored",
            )),
        }
    }
}

/// `matchData`: the index is a position in `data`.
fn data(place: &LocatedHook<'_>, selector: &Selector, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    for (i, filter) in selector.match_data.iter().enumerate() {
        let path = path.field("matchData").index(i);
        let position = filter.data_position();
        match place.hook.data.get(position as usize) {
            Some(arg) => argument(arg.ty, filter, &path, found),
            None => found.push(Diagnostic::new(
                &UNDECLARED_ARG,
                path.field("index"),
                format!(
                    "`data` has {} entries, so there is none at position {}",
                    place.hook.data.len(),
                    position
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
