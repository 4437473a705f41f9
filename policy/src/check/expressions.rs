//! `CelExpr`: one expression over the arguments `arg0` to `argN`.

use super::located::{LocatedHook, LocatedPolicy};
use crate::{
    codes::{EXPRESSION, OVER_LIMIT},
    diagnostic::{Diagnostic, FieldPath},
    model::{ArgFilter, Operator},
};

/// Expressions of one policy that is attached by kprobe-multi.
const EXPRESSIONS_MAX: usize = 8;

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    let mut count = 0;
    for place in &places.hooks {
        for (selector, path) in place.selectors() {
            for (name, filters) in [("matchArgs", &selector.match_args), ("matchData", &selector.match_data)]
            {
                for (i, filter) in filters.iter().enumerate().filter(|(_, f)| f.operator == Operator::CelExpr)
                {
                    let path = path.field(name).index(i);
                    count += 1;
                    if count == EXPRESSIONS_MAX + 1 {
                        found.push(Diagnostic::new(
                            &OVER_LIMIT,
                            path.field("operator"),
                            format!("more than {EXPRESSIONS_MAX} CEL expressions in one policy; Tetragon rejects it"),
                        ));
                    }
                    expression(place, filter, &path, found);
                }
            }
        }
    }
}

fn expression(place: &LocatedHook<'_>, filter: &ArgFilter, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    let mut report = |at: FieldPath, message: String, help: &str| {
        found.push(Diagnostic::new(&EXPRESSION, at, message).help(help));
    };
    let list = path.field("values");
    if filter.values.len() > 1 {
        report(
            list.index(1),
            format!(
                "{} expressions, but `CelExpr` accepts one; every node rejects the policy",
                filter.values.len()
            ),
            "join them with `||`",
        );
    }
    let Some(text) = filter.values.first() else { return };
    if let Some(reason) = unbalanced(text) {
        report(
            list.index(0),
            format!("invalid CEL expression: {reason}; every node rejects the policy"),
            "an expression looks like `arg0 > 1024 && arg1 != 0`",
        );
        return;
    }
    for number in arguments(text) {
        if !place.hook.args.iter().any(|arg| u64::from(arg.index) == number) {
            report(
                list.index(0),
                format!("`arg{number}` is not declared in `args`; every node rejects the policy"),
                "declare it in `args`",
            );
            return;
        }
    }
}

/// Why a text can be no expression at all.
fn unbalanced(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        return Some("it is empty");
    }
    let mut depth = 0_u32;
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return Some("a closing bracket has no opening bracket"),
            },
            _ => {}
        }
    }
    if depth > 0 {
        return Some("a bracket is not closed");
    }
    let end = text.trim_end().chars().next_back();
    let joins = |letter: char| matches!(letter, '&' | '|' | '+' | '-' | '=' | '<' | '>' | '!');
    end.is_some_and(joins).then_some("it is incomplete at the end")
}

/// The numbers of the arguments that it names.
fn arguments(text: &str) -> Vec<u64> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter_map(|word| word.strip_prefix("arg")?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::reported;

    fn with(values: &str) -> Vec<String> {
        reported(&format!(
            "kprobes: [{{call: sys_dup, args: [{{index: 0, type: int}}], selectors: [{{matchArgs: \
             [{{index: 0, operator: CelExpr, values: [{values}]}}]}}]}}]"
        ))
    }

    #[test]
    fn expressions() {
        let at = |i: usize| [format!("GW320 spec.kprobes[0].selectors[0].matchArgs[0].values[{i}]")];
        assert_eq!(with("'arg0 > 5 && (arg0 < 9 || arg0 == 12)'"), [""; 0]);
        assert_eq!(with("'arg0 > 5', 'arg0 < 9'"), at(1));
        assert_eq!(with("'arg1 > 5'"), at(0));
        assert_eq!(with("'(arg0 > 5'"), at(0));
        assert_eq!(with("'arg0 > 5 &&'"), at(0));
        assert_eq!(with("' '"), at(0));
    }
}
