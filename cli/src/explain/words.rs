//! Filters and selectors in words.

use gatewatch_kernel::Function;
use gatewatch_policy::{
    model::{
        ActionKind, ArgFilter, ArgType, BinaryFilter, Hook, LabelOperator, LabelSelector, Operator, Selector,
    },
    values::HOST_NAMESPACE,
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
        if let (Operator::CapabilitiesGained, [old, new]) = (filter.operator, filter.args.as_slice()) {
            let name = |position| argument(&ArgFilter { args: vec![position], ..filter.clone() }, subject);
            found.push(format!("{} has a capability that {} has not", name(*new), name(*old)));
            continue;
        }
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
        let host: Vec<String> =
            filter.values.iter().map(|v| v.replace(HOST_NAMESPACE, "the host's")).collect();
        found.push(format!("its {namespace} namespace {}", values(filter.operator, &host)));
    }
    for filter in &selector.match_capabilities {
        let set = filter.set.name().to_lowercase();
        let negated = if filter.operator == Operator::NotIn { "none" } else { "one" };
        let outside =
            if filter.is_namespace_capability { ", and its user namespace is not the host's" } else { "" };
        found.push(format!("{negated} of {} is in its {set} capabilities{outside}", either(&filter.values)));
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
    ] {
        if present {
            found.push(what.to_owned());
        }
    }
    found
}

/// The actions of a selector other than counting.
pub(super) fn actions(selector: &Selector) -> Vec<String> {
    selector
        .actions()
        .filter_map(|(_, _, action)| match action.kind? {
            ActionKind::Post => None,
            ActionKind::NoPost => {
                Some("these events are not counted, and later selectors are not evaluated".to_owned())
            }
            ActionKind::Sigkill => {
                Some("kills the process: the call in flight still ends, and no further one begins".to_owned())
            }
            ActionKind::Signal => Some(format!(
                "sends signal {} to the process: the call in flight still ends",
                action.fields.get("argSig").map_or("0", String::as_str)
            )),
            ActionKind::Override => Some(format!(
                "the call returns the error {} instead, where the kernel can do that",
                action.fields.get("argError").map_or("0", String::as_str)
            )),
            other if other.is_monitored() => {
                Some(format!("counts what `{other}` would affect, and does not perform it"))
            }
            other if other.is_removed() => Some(format!("`{other}` is ignored")),
            other => Some(format!("also performs `{other}`")),
        })
        .collect()
}

fn binaries(filter: &BinaryFilter) -> String {
    let text = values(filter.operator, &quoted(&filter.values));
    if filter.follow_children { format!("{text}, or that of an ancestor's program") } else { text }
}

/// What an argument's filter compares, with the argument's name in the kernel if that is known.
fn argument(filter: &ArgFilter, subject: &Subject<'_>) -> String {
    let declared = subject.hook.filtered_arg(filter);
    let index = declared.map_or(filter.index, |arg| arg.index);
    let name = subject
        .function
        .and_then(|function| function.params.as_ref()?.get(index as usize))
        // The only parameter of a system call's symbol points to all registers.
        .filter(|param| !param.ty.to_string().contains("pt_regs") && !param.name.is_empty())
        .map_or_else(|| format!("argument {index}"), |param| format!("`{}`", param.name));
    match (property(filter.operator), declared.map(|arg| arg.ty)) {
        // It has one end alone.
        (Some(property), Some(ArgType::Sockaddr)) => {
            format!("the {} of {name}", property.trim_start_matches("source "))
        }
        (Some(property), _) => format!("the {property} of {name}"),
        (None, Some(ArgType::File | ArgType::Path | ArgType::Dentry | ArgType::LinuxBinprm)) => {
            format!("the path of {name}")
        }
        _ => name,
    }
}

/// The part of an argument that an operator compares, if it is not the whole.
const fn property(operator: Operator) -> Option<&'static str> {
    match operator {
        Operator::SAddr | Operator::NotSAddr => Some("source address"),
        Operator::DAddr | Operator::NotDAddr => Some("destination address"),
        Operator::SPort | Operator::NotSPort | Operator::SPortPriv | Operator::NotSPortPriv => {
            Some("source port")
        }
        Operator::DPort | Operator::NotDPort | Operator::DPortPriv | Operator::NotDPortPriv => {
            Some("destination port")
        }
        Operator::Protocol => Some("protocol"),
        Operator::Family => Some("address family"),
        Operator::State => Some("state"),
        Operator::FileType | Operator::NotFileType => Some("file type"),
        _ => None,
    }
}

fn quoted(values: &[String]) -> Vec<String> {
    values.iter().map(|value| format!("{value:?}")).collect()
}

fn values(operator: Operator, values: &[String]) -> String {
    let any = either(values);
    match operator {
        Operator::Equal
        | Operator::In
        | Operator::InMap
        | Operator::SPort
        | Operator::DPort
        | Operator::Protocol
        | Operator::Family
        | Operator::State
        | Operator::FileType => format!("is {any}"),
        Operator::NotEqual
        | Operator::NotIn
        | Operator::NotInMap
        | Operator::NotSPort
        | Operator::NotDPort
        | Operator::NotFileType => format!("is not {any}"),
        Operator::Gt => format!("is greater than {any}"),
        Operator::Lt => format!("is less than {any}"),
        Operator::Mask => format!("shares a bit with {any}"),
        Operator::Prefix => format!("starts with {any}"),
        Operator::NotPrefix => format!("does not start with {any}"),
        Operator::Postfix => format!("ends with {any}"),
        Operator::NotPostfix => format!("does not end with {any}"),
        Operator::SubString => format!("contains {any}"),
        Operator::SubStringIgnCase => format!("contains {any}, ignoring case"),
        Operator::InRange | Operator::SAddr | Operator::DAddr => format!("is in {any}"),
        Operator::NotInRange | Operator::NotSAddr | Operator::NotDAddr => format!("is not in {any}"),
        Operator::SPortPriv | Operator::DPortPriv => "is below 1024".to_owned(),
        Operator::NotSPortPriv | Operator::NotDPortPriv => "is not below 1024".to_owned(),
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
    use gatewatch_policy::model::Action;

    use super::*;

    /// The conditions of one filter of `call`, whose arguments are declared as `args`.
    fn condition(args: &str, filter: &str) -> Vec<String> {
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec: {{kprobes: [{{call: f, syscall: \
             false, args: {args}, selectors: [{{matchArgs: [{filter}]}}]}}]}}\n"
        );
        let (policy, found) = gatewatch_policy::read::read(&gatewatch_policy::source::parse(&text)[0]);
        assert!(found.is_empty(), "{found:?}");
        let hook = &policy.expect("a policy").spec.kprobes[0];
        conditions(&hook.selectors[0], &Subject { hook, function: None })
    }

    #[test]
    fn conditions_are_what_the_filter_compares() {
        let sets = "[{index: 1, type: cap_permitted}, {index: 3, type: kernel_cap_t}]";
        assert_eq!(
            condition(sets, "{operator: CapabilitiesGained, args: [0, 1]}"),
            ["argument 3 has a capability that argument 1 has not"]
        );
        for (ty, operator, values, expected) in [
            (
                "kernel_cap_t",
                "Mask",
                "['CAP_BPF,CAP_SYSLOG']",
                "argument 3 shares a bit with CAP_BPF,CAP_SYSLOG",
            ),
            ("int", "Equal", "['5']", "argument 3 is 5"),
            ("int", "GT", "['5']", "argument 3 is greater than 5"),
            ("int", "LT", "['5']", "argument 3 is less than 5"),
            ("int", "Mask", "['5']", "argument 3 shares a bit with 5"),
            ("file", "Prefix", "[/etc]", "the path of argument 3 starts with /etc"),
            ("file", "FileType", "[pipe]", "the file type of argument 3 is pipe"),
            ("path", "NotFileType", "[reg]", "the file type of argument 3 is not reg"),
            ("sock", "DAddr", "[10.0.0.0/8]", "the destination address of argument 3 is in 10.0.0.0/8"),
            ("sock", "NotSPortPriv", "[]", "the source port of argument 3 is not below 1024"),
            ("socket", "DPort", "['443']", "the destination port of argument 3 is 443"),
            ("sockaddr", "SAddr", "[10.0.0.0/8]", "the address of argument 3 is in 10.0.0.0/8"),
            ("sockaddr", "NotSPort", "['443']", "the port of argument 3 is not 443"),
            ("sockaddr", "Family", "[AF_INET]", "the address family of argument 3 is AF_INET"),
        ] {
            let operator = if operator == "NotSPortPriv" { Operator::NotSPortPriv.name() } else { operator };
            for named in ["args: [1]", "index: 3"] {
                let args = format!("[{{index: 1, type: uint64}}, {{index: 3, type: {ty}}}]");
                let filter = format!("{{{named}, operator: {operator}, values: {values}}}");
                assert_eq!(condition(&args, &filter), [expected], "{filter}");
            }
        }
    }

    #[test]
    fn actions_say_what_they_do_to_a_process() {
        let action = |kind, fields: &[(&str, &str)]| {
            let fields =
                fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let match_actions = vec![Action { kind: Some(kind), fields }];
            actions(&Selector { match_actions, ..Selector::default() }).concat()
        };
        assert!(
            action(ActionKind::Sigkill, &[]).starts_with("kills the process: the call in flight still ends")
        );
        assert!(action(ActionKind::Signal, &[("argSig", "15")]).starts_with("sends signal 15"));
        assert!(action(ActionKind::Override, &[("argError", "-1")]).contains("error -1"));
        for kind in [ActionKind::NotifyEnforcer, ActionKind::Set] {
            assert!(action(kind, &[]).contains("does not perform it"), "{kind}");
        }
        assert_eq!(action(ActionKind::GetUrl, &[]), "also performs `GetUrl`");
    }

    #[test]
    fn alternatives() {
        let all: Vec<String> = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).into();
        assert_eq!(either(&all[..0]), "nothing");
        assert_eq!(either(&all[..1]), "a");
        assert_eq!(either(&all[..3]), "a, b or c");
        assert_eq!(either(&all), "a, b, c, d or 2 more");
    }
}
