//! Filters and selectors in words.

use gatewatch_kernel::Function;
use gatewatch_policy::model::{
    ActionKind, ArgFilter, ArgType, BinaryFilter, Hook, LabelOperator, LabelSelector, Operator, Selector,
};

/// Maximum values that are listed. The rest is a number.
const NAMED: usize = 4;

/// The hook that filters belong to.
pub(super) struct Subject<'a> {
    pub(super) hook: &'a Hook,
    /// The function in the newest kernel.
    pub(super) function: Option<&'a Function>,
}

/// A label selector in the syntax of `kubectl get -l`.
pub(super) fn labels(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().map(|(key, value)| format!("`{key}={value}`"));
    let expressions = selector.match_expressions.iter().map(|e| {
        let values = either(&e.values);
        match e.operator {
            LabelOperator::In => format!("`{}` {values}", e.key),
            LabelOperator::NotIn => format!("no `{}`, or one that is not {values}", e.key),
            LabelOperator::Exists => format!("any `{}`", e.key),
            LabelOperator::DoesNotExist => format!("no `{}`", e.key),
        }
    });
    labels.chain(expressions).collect::<Vec<_>>().join(" and ")
}

/// The conditions of a selector, all of which must hold.
pub(super) fn conditions(selector: &Selector, subject: &Subject<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for filter in &selector.match_binaries {
        found.push(format!("the path of the calling program {}", binaries(filter)));
    }
    for filter in &selector.match_parent_binaries {
        found.push(format!("the path of the parent's program {}", binaries(filter)));
    }
    for filter in &selector.match_args {
        found.push(format!("{} {}", argument(filter, subject), values(filter.operator, &filter.values)));
    }
    for filter in &selector.match_data {
        found.push(format!("the value `data[{}]` {}", filter.index, values(filter.operator, &filter.values)));
    }
    for filter in &selector.match_return_args {
        found.push(format!("the return value {}", values(filter.operator, &filter.values)));
    }
    for filter in &selector.match_pids {
        let which = if filter.is_namespace_pid { "(in its own PID namespace) " } else { "" };
        let ids: Vec<String> = filter.values.iter().map(ToString::to_string).collect();
        found.push(format!("its process ID {which}{}", values(filter.operator, &ids)));
    }
    for filter in &selector.match_namespaces {
        let namespace = filter.namespace.name().to_lowercase();
        let host: Vec<String> = filter.values.iter().map(|v| v.replace("host_ns", "the host's")).collect();
        found.push(format!("its {namespace} namespace {}", values(filter.operator, &host)));
    }
    for filter in &selector.match_capabilities {
        let set = filter.set.name().to_lowercase();
        let negated = if filter.operator == Operator::NotIn { "none" } else { "one" };
        found.push(format!("{negated} of {} is in its {set} capabilities", either(&filter.values)));
    }
    for (present, what) in [
        (
            !selector.match_namespace_changes.is_empty(),
            "its namespaces change as `matchNamespaceChanges` describes",
        ),
        (
            !selector.match_capability_changes.is_empty(),
            "its capabilities change as `matchCapabilityChanges` describes",
        ),
        (!selector.match_workloads.is_empty(), "its pod matches `matchWorkloads`"),
        (!selector.macros.is_empty(), "the filters of its macros match"),
    ] {
        if present {
            found.push(what.to_owned());
        }
    }
    found
}

/// The actions of a selector other than counting.
pub(super) fn actions(selector: &Selector) -> Vec<String> {
    let actions = selector.match_actions.iter().chain(&selector.match_return_actions);
    actions
        .filter_map(|action| match action.kind? {
            ActionKind::Post => None,
            ActionKind::NoPost => {
                Some("these events are not counted, and later selectors are not evaluated".to_owned())
            }
            other => Some(format!("also performs `{other}`")),
        })
        .collect()
}

fn binaries(filter: &BinaryFilter) -> String {
    let text = values(filter.operator, &quoted(&filter.values));
    if filter.follow_children { format!("{text}, or that of an ancestor's program") } else { text }
}

/// An argument, by its name in the kernel if that is known.
fn argument(filter: &ArgFilter, subject: &Subject<'_>) -> String {
    let declared = subject.hook.args.iter().find(|arg| arg.index == filter.index);
    let name = subject
        .function
        .and_then(|function| function.params.as_ref()?.get(filter.index as usize))
        // The only parameter of a system call's symbol points to all registers.
        .filter(|param| !param.ty.to_string().contains("pt_regs") && !param.name.is_empty())
        .map_or_else(|| format!("argument {}", filter.index), |param| format!("`{}`", param.name));
    match declared.map(|arg| arg.ty) {
        Some(ArgType::File | ArgType::Path | ArgType::Dentry | ArgType::LinuxBinprm) => {
            format!("the path of {name}")
        }
        Some(ArgType::Sock | ArgType::Socket | ArgType::Skb) => format!("of {name} the"),
        _ => name,
    }
}

fn quoted(values: &[String]) -> Vec<String> {
    values.iter().map(|value| format!("{value:?}")).collect()
}

fn values(operator: Operator, values: &[String]) -> String {
    let any = either(values);
    match operator {
        Operator::Equal | Operator::In | Operator::InMap => format!("is {any}"),
        Operator::NotEqual | Operator::NotIn | Operator::NotInMap => format!("is not {any}"),
        Operator::Gt => format!("is greater than {any}"),
        Operator::Lt => format!("has a bit in common with {any}"),
        Operator::Mask => format!("shares a bit with {any}"),
        Operator::Prefix => format!("starts with {any}"),
        Operator::NotPrefix => format!("does not start with {any}"),
        Operator::Postfix => format!("ends with {any}"),
        Operator::NotPostfix => format!("does not end with {any}"),
        Operator::SubString | Operator::SubStringIgnCase => format!("contains {any}"),
        Operator::InRange => format!("is in {any}"),
        Operator::NotInRange => format!("is not in {any}"),
        Operator::SAddr => format!("source address is in {any}"),
        Operator::NotSAddr => format!("source address is not in {any}"),
        Operator::DAddr => format!("destination address is in {any}"),
        Operator::NotDAddr => format!("destination address is not in {any}"),
        Operator::SPort => format!("source port is {any}"),
        Operator::NotSPort => format!("source port is not {any}"),
        Operator::DPort => format!("destination port is {any}"),
        Operator::NotDPort => format!("destination port is not {any}"),
        Operator::SPortPriv => "source port is below 1024".to_owned(),
        Operator::NotSPortPriv => "source port is not below 1024".to_owned(),
        Operator::DPortPriv => "destination port is below 1024".to_owned(),
        Operator::NotDPortPriv => "destination port is not below 1024".to_owned(),
        Operator::Protocol => format!("protocol is {any}"),
        Operator::Family => format!("address family is {any}"),
        Operator::State => format!("state is {any}"),
        Operator::FileType => format!("file type is {any}"),
        Operator::NotFileType => format!("file type is not {any}"),
        Operator::CapabilitiesGained => "has capabilities that it did not have before".to_owned(),
        Operator::CelExpr => format!("satisfies {any}"),
    }
}

/// `a, b or 3 more`.
fn either(values: &[String]) -> String {
    let (named, rest) = values.split_at(values.len().min(NAMED));
    match (named, rest.len()) {
        ([], _) => "nothing".to_owned(),
        ([only], 0) => only.clone(),
        ([first @ .., last], 0) => format!("{} or {last}", first.join(", ")),
        (_, more) => format!("{} or {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives() {
        let all: Vec<String> = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).into();
        assert_eq!(either(&all[..0]), "nothing");
        assert_eq!(either(&all[..1]), "a");
        assert_eq!(either(&all[..3]), "a, b or c");
        assert_eq!(either(&all), "a, b, c, d or 2 more");
    }
}
