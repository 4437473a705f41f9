//! The length of a hook's selectors in Tetragon's encoding.
//!
//! Tetragon writes all selectors of a hook into one buffer of 4,096 bytes, and its BPF programs mask offsets into
//! it with 0x3ff (`INDEX_MASK`). They misread everything after the first 1,024 bytes, and the compiler panics
//! beyond the buffer. This rule counts a lower bound for each part, so that it never reports selectors that fit.

use super::located::LocatedPolicy;
use crate::{
    codes::SELECTOR_BYTES,
    diagnostic::{Diagnostic, Severity},
    model::{Action, ArgFilter, CapabilityFilter, Operator, Selector},
};

const ADDRESSABLE: usize = 1024;
const BUFFER: usize = 4096;
/// A number, an offset, the length of a section.
const WORD: usize = 4;
/// Tables of strings that `Equal` looks into, by length (`StringMapsNumSubMapsSmall`).
const STRING_TABLES: usize = 8;

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for place in &places.hooks {
        let selectors = &place.hook.selectors;
        let bytes = WORD + selectors.iter().map(size).sum::<usize>();
        if bytes <= ADDRESSABLE {
            continue;
        }
        let path = place.path.field("selectors");
        let diagnostic = if bytes > BUFFER {
            Diagnostic::new(
                &SELECTOR_BYTES,
                path,
                format!("the encoded selectors take at least {bytes} bytes; Tetragon's compiler panics above {BUFFER}"),
            )
            .severity(Severity::Error)
        } else {
            Diagnostic::new(
                &SELECTOR_BYTES,
                path,
                format!(
                    "the encoded selectors take at least {bytes} bytes; Tetragon's BPF programs address only the \
                     first {ADDRESSABLE} and reread them for the rest"
                ),
            )
        };
        found.push(diagnostic.at_key().help(
            "use fewer selectors per hook, and one filter with several values instead of several filters",
        ));
    }
}

/// One selector: its place in the list, its length, the lengths of its six sections and of its actions.
fn size(selector: &Selector) -> usize {
    8 * WORD + WORD + content(selector)
}

/// The size of the sections.
fn content(s: &Selector) -> usize {
    let pids = s.match_pids.iter().map(|f| (3 + f.values.len()) * WORD).sum::<usize>();
    let namespaces = s.match_namespaces.iter().map(|f| (3 + f.values.len()) * WORD).sum::<usize>();
    let capabilities = |filters: &[CapabilityFilter]| filters.len() * 5 * WORD;
    let changes = s.match_namespace_changes.len() * 2 * WORD;
    let args = s.match_args.iter().chain(&s.match_data).map(argument).sum::<usize>();
    let actions = |actions: &[Action]| actions.len() * WORD;
    pids + namespaces
        + capabilities(&s.match_capabilities)
        + capabilities(&s.match_capability_changes)
        + changes
        + args
        + actions(&s.match_actions)
        + actions(&s.match_return_actions)
}

/// Index, operator, length and type; then the values, or the numbers of the tables that hold them.
fn argument(filter: &ArgFilter) -> usize {
    use Operator as O;
    let number = |value: &String| crate::values::integer(value).is_ok();
    let values = match filter.operator {
        O::Equal | O::NotEqual if !filter.values.iter().all(number) => STRING_TABLES * WORD,
        O::Equal | O::NotEqual | O::Gt | O::Lt | O::Mask | O::Protocol | O::Family | O::State => {
            filter.values.len() * WORD
        }
        O::InRange | O::NotInRange => filter.values.len() * 2 * WORD,
        O::SPortPriv | O::NotSPortPriv | O::DPortPriv | O::NotDPortPriv => 0,
        O::SAddr | O::DAddr | O::NotSAddr | O::NotDAddr => 2 * WORD,
        _ => WORD,
    };
    4 * WORD + values
}

#[cfg(test)]
mod tests {
    use super::super::testing::reported;

    /// Selectors of five filters each, every one for another file.
    fn hook(selectors: usize, operator: &str) -> Vec<String> {
        let filter =
            |s: usize, i: usize| format!("{{index: {i}, operator: {operator}, values: [/x/{s}/{i}]}}");
        let selector =
            |s| format!("{{matchArgs: [{}]}}", (0..5).map(|i| filter(s, i)).collect::<Vec<_>>().join(", "));
        let args = (0..5).map(|i| format!("{{index: {i}, type: string}}")).collect::<Vec<_>>().join(", ");
        let selectors = (0..selectors).map(selector).collect::<Vec<_>>().join(", ");
        reported(&format!("kprobes: [{{call: sys_dup, args: [{args}], selectors: [{selectors}]}}]"))
    }

    #[test]
    fn what_fits_and_what_does_not() {
        assert_eq!(hook(5, "Prefix"), [""; 0]);
        assert_eq!(hook(3, "Equal"), [""; 0]);
        assert_eq!(hook(5, "Equal"), ["GW410 spec.kprobes[0].selectors"]);
    }
}
