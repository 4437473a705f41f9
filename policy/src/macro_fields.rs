//! The fields that selectors and their macros share: only one of them would be left when the macros are expanded.

use crate::model::{Selector, Spec, with_selector_fields};

/// Whether a selector and its macros have a field twice, of which one is lost when they are expanded.
pub(crate) fn macros_conflict(spec: &Spec, selector: &Selector) -> bool {
    let used: Vec<&Selector> =
        selector.macros.iter().filter_map(|name| spec.selectors_macros.get(name)).collect();
    let with_itself = used.iter().any(|used| !shared(used, selector).is_empty());
    with_itself
        || used
            .iter()
            .enumerate()
            .any(|(i, one)| used[..i].iter().any(|other| !shared(one, other).is_empty()))
}

/// The fields that both selectors have.
pub(crate) fn shared(a: &Selector, b: &Selector) -> Vec<&'static str> {
    fields(a)
        .into_iter()
        .zip(fields(b))
        .filter(|((_, a), (_, b))| *a && *b)
        .map(|((name, _), _)| name)
        .collect()
}

fn fields(selector: &Selector) -> Vec<(&'static str, bool)> {
    macro_rules! all {
        ($($field:ident $name:literal),* $(,)?) => { vec![$(($name, !selector.$field.is_empty())),*] };
    }
    with_selector_fields!(all)
}
