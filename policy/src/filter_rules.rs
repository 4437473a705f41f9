//! Rules for one filter on a value: the operator, the values and the argument that the filter names.
//!
//! Both [`check`](crate::check) and [`compile`](crate::compile) apply them, each to the hooks that it checks.

use crate::{
    codes::{
        BAD_ADDRESS, BAD_NUMBER, BAD_TEXT, Code, NO_VALUES, OPERATOR_TYPE, OVER_LIMIT, UNDECLARED_ARG,
        UNKNOWN_CONSTANT,
    },
    diagnostic::{Diagnostic, Edit, FieldPath, Fix, Severity},
    labels::namespace_help,
    model::{ArgFilter, ArgType, Hook, List, Operator},
    names, placeholder,
    type_class::{Class, class},
    values::{self, ValueError, address, constants},
};

/// What to write where an argument has no type.
pub(crate) const TYPE_HELP: &str = "use the type that the argument has in the function's prototype";

/// Values of `FileType`.
const FILE_TYPES_MAX: usize = 4;

/// The finding on a filter that names an undeclared argument, by its position in `args` or by its number.
pub(crate) fn undeclared(hook: &Hook, filter: &ArgFilter, path: &FieldPath) -> Option<Diagnostic> {
    let count = hook.args.len();
    let outside = filter.args.iter().position(|position| *position as usize >= count);
    if let Some(i) = outside {
        let position = filter.args[i];
        let diagnostic = Diagnostic::new(
            &UNDECLARED_ARG,
            path.field("args").index(i),
            format!("position {position} does not exist: `args` of the hook has {count} entries"),
        );
        let suggestion = hook.args.iter().position(|arg| arg.index == position);
        return Some(match suggestion {
            Some(suggestion) => diagnostic.help(format!(
                "`args` of a filter is a list of positions in `args` of the hook; for argument {position} write `{suggestion}`"
            )),
            None => diagnostic.help("`args` of a filter is a list of positions in `args` of the hook, starting at 0"),
        });
    }
    hook.filtered_arg(filter).is_none().then(|| {
        let missing = filter.index;
        Diagnostic::new(
            &UNDECLARED_ARG,
            path.field("index"),
            format!("argument {missing} is not declared in `args`, so this filter cannot be evaluated"),
        )
        .help(format!("declare it: `- {{index: {missing}, type: …}}`"))
    })
}

/// One filter on a value of a type.
pub(crate) fn argument(ty: ArgType, filter: &ArgFilter, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    let class = class(ty);
    let operator = filter.operator;
    if !class.takes(operator) {
        let effect = if class.always_matches(operator) {
            "Tetragon would match every call"
        } else {
            "it cannot be evaluated"
        };
        found.push(
            Diagnostic::new(
                &OPERATOR_TYPE,
                path.field("operator"),
                format!("operator `{operator}` does not work on type `{ty}`: {effect}"),
            )
            .help(class.help()),
        );
        return;
    }
    let valueless = matches!(
        operator,
        Operator::SPortPriv
            | Operator::NotSPortPriv
            | Operator::DPortPriv
            | Operator::NotDPortPriv
            | Operator::CapabilitiesGained
    );
    if filter.values.is_empty() && !valueless {
        found.push(no_values(path));
    }
    let list = path.field("values");
    if matches!(operator, Operator::FileType | Operator::NotFileType) && filter.values.len() > FILE_TYPES_MAX
    {
        let message = format!(
            "{} file types; Tetragon accepts at most {FILE_TYPES_MAX} and rejects the policy",
            filter.values.len()
        );
        found.push(Diagnostic::new(&OVER_LIMIT, list.index(FILE_TYPES_MAX), message));
    }
    if operator == Operator::CapabilitiesGained && filter.args.len() != 2 {
        found.push(two_sets(path));
    }
    for (i, value) in filter.values.iter().enumerate() {
        if let Some((code, problem)) = bad_value(class, operator, value) {
            found.push(problem.at(code, list.index(i)));
        }
        let of_addresses =
            matches!(operator, Operator::SAddr | Operator::DAddr | Operator::NotSAddr | Operator::NotDAddr);
        if let Ok(written) = address::network(value)
            && of_addresses
            && written.host_bits
        {
            found.push(host_bits(value, &written, list.index(i)));
        }
    }
}

/// The finding on `CapabilitiesGained` with another number of arguments than two.
pub(crate) fn two_sets(path: &FieldPath) -> Diagnostic {
    Diagnostic::new(
        &UNDECLARED_ARG,
        path.clone(),
        "`CapabilitiesGained` requires two arguments; every node rejects the policy",
    )
    .help("write `args: [OLD, NEW]` with the positions in `args` of two capability sets")
}

/// The code of a set of capabilities that can't be read.
pub(crate) const fn capability_code(error: &ValueError) -> &'static Code {
    match error {
        ValueError::Unknown { .. } => &UNKNOWN_CONSTANT,
        _ => &BAD_NUMBER,
    }
}

/// Why a value is wrong.
enum Problem {
    /// It can't be read.
    Unreadable(ValueError),
    /// It can be read, and nothing equals it.
    Useless(String),
}

impl Problem {
    fn at(self, code: &'static Code, path: FieldPath) -> Diagnostic {
        match self {
            Self::Unreadable(error) => unreadable(code, &error, path),
            Self::Useless(reason) => Diagnostic::new(code, path, reason),
        }
    }
}

/// The finding on a value that can't be read, with a fix if the intention is clear.
pub(crate) fn unreadable(code: &'static Code, error: &ValueError, path: FieldPath) -> Diagnostic {
    let diagnostic = Diagnostic::new(code, path.clone(), error.to_string());
    if let Some(found) = placeholder::find(error.text()) {
        return diagnostic.help(placeholder::help(found));
    }
    match error {
        ValueError::NotNamespace(text) if names::dns_label(text).is_ok() => {
            diagnostic.help(namespace_help(text))
        }
        ValueError::Unknown { text, what, nearest: Some(suggestion) } => {
            // The help has the suggestion, so the message doesn't repeat it.
            let unknown = ValueError::Unknown { text: text.clone(), what, nearest: None };
            Diagnostic::new(code, path, unknown.to_string())
                .did_you_mean(suggestion, Edit::Replace((*suggestion).to_owned()))
        }
        ValueError::Reversed { min, max, .. } => {
            diagnostic.fix(replace(format!("\"{max}:{min}\""), path, false))
        }
        _ => diagnostic,
    }
}

/// A network with bits after its prefix: `10.1.2.3/8`.
pub(crate) fn host_bits(text: &str, written: &address::Written, path: FieldPath) -> Diagnostic {
    let network = written.network.to_string();
    Diagnostic::new(
        &BAD_ADDRESS,
        path.clone(),
        format!("`{text}` has host bits set; it matches the whole network `{network}`"),
    )
    .severity(Severity::Warning)
    // The one address may be intended.
    .fix(replace(format!("\"{network}\""), path, false))
}

fn replace(yaml: String, path: FieldPath, safe: bool) -> Fix {
    Fix { title: format!("write `{}`", yaml.trim_matches('"')), path, edit: Edit::Replace(yaml), safe }
}

pub(crate) fn no_values(path: &FieldPath) -> Diagnostic {
    Diagnostic::new(
        &NO_VALUES,
        path.clone(),
        "the filter has no values; Tetragon would ignore it, and every call would match",
    )
}

/// What is wrong with a value.
fn bad_value(class: Class, operator: Operator, value: &str) -> Option<(&'static Code, Problem)> {
    fn reason<T>(code: &'static Code, read: Result<T, ValueError>) -> Option<(&'static Code, Problem)> {
        read.err().map(|error| (code, Problem::Unreadable(error)))
    }
    match operator {
        Operator::Equal | Operator::NotEqual | Operator::Gt | Operator::Lt | Operator::Mask
            if class == Class::Capabilities =>
        {
            let error = constants::capabilities(value).err()?;
            Some((capability_code(&error), Problem::Unreadable(error)))
        }
        Operator::SAddr | Operator::DAddr | Operator::NotSAddr | Operator::NotDAddr => {
            reason(&BAD_ADDRESS, address::network(value))
        }
        Operator::SPort | Operator::DPort | Operator::NotSPort | Operator::NotDPort => {
            reason(&BAD_NUMBER, values::ports(value))
        }
        Operator::Protocol => reason(&UNKNOWN_CONSTANT, constants::protocol(value)),
        Operator::Family => reason(&UNKNOWN_CONSTANT, constants::family(value)),
        Operator::State => reason(&UNKNOWN_CONSTANT, constants::tcp_state(value)),
        Operator::FileType | Operator::NotFileType => reason(&UNKNOWN_CONSTANT, constants::file_type(value)),
        Operator::InRange | Operator::NotInRange => reason(&BAD_NUMBER, values::range(value)),
        Operator::InMap | Operator::NotInMap if List::named_in(value).is_some() => None,
        Operator::InMap | Operator::NotInMap => reason(&BAD_NUMBER, values::integer_or_range(value)),
        Operator::Gt | Operator::Lt | Operator::Mask => reason(&BAD_NUMBER, values::integer(value)),
        Operator::Equal | Operator::NotEqual => match class {
            Class::Int { bits, signed } => reason(&BAD_NUMBER, values::integer_of(value, bits, signed)),
            Class::Text | Class::Path | Class::UnixSocket => {
                bad_text(operator, value).map(|reason| (&BAD_TEXT, Problem::Useless(reason)))
            }
            _ => None,
        },
        Operator::Prefix
        | Operator::NotPrefix
        | Operator::Postfix
        | Operator::NotPostfix
        | Operator::SubString
        | Operator::SubStringIgnCase => {
            bad_text(operator, value).map(|reason| (&BAD_TEXT, Problem::Useless(reason)))
        }
        _ => None,
    }
}

/// Strings that equal nothing, or that everything begins with; the longest are those of Tetragon's tables.
pub(crate) fn bad_text(operator: Operator, value: &str) -> Option<String> {
    let limit = match operator {
        Operator::Prefix | Operator::NotPrefix => 256,
        Operator::Postfix | Operator::NotPostfix => 127,
        Operator::SubString | Operator::SubStringIgnCase => 99,
        _ => 4096,
    };
    let reason = if value.is_empty() && !matches!(operator, Operator::Equal | Operator::NotEqual) {
        "every string contains the empty string".to_owned()
    } else if value.contains('\0') {
        "kernel strings end at the first NUL byte, so no string contains one".to_owned()
    } else if value.len() > limit {
        format!("the value has {} bytes; `{operator}` accepts at most {limit}", value.len())
    } else {
        return None;
    };
    Some(reason)
}
