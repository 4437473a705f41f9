//! Filters as they are written, as conditions on keys.
//!
//! A filter that can't be read (a rule reports it) or isn't understood well enough has a key of its own, the
//! filter as it is written: two of the same text are the same, and nothing else is concluded from it.

use std::fmt::Debug;

use super::{
    condition::{Aspect, Condition, Key, Source},
    ints::IntSet,
    set::Set,
    text::{Atom, Clause, TextSet},
};
use crate::{
    diagnostic::FieldPath,
    labels::Subject,
    model::{
        ArgFilter, ArgType, BinaryFilter, CapabilityFilter, Hook, LabelOperator, LabelSelector,
        NamespaceFilter, Operator, PidFilter, Selector, WorkloadFilter,
    },
    plan::SocketPart,
    type_class::{Class, class},
    values::{self, NamespaceValue, ValueError, address, constants},
};

/// The conditions of a selector of this hook, whose macros are expanded.
pub fn lower(hook: &Hook, selector: &Selector, path: &FieldPath) -> Vec<Condition> {
    let mut all = Vec::new();
    each(&selector.match_args, path, "matchArgs", &mut all, |filter| {
        let arg = hook.filtered_arg(filter).filter(|_| filter.args.len() < 2)?;
        let position = hook.args.iter().position(|other| std::ptr::eq(other, arg))?;
        argument(Source::Arg(u32::try_from(position).ok()?), arg.ty, filter)
    });
    each(&selector.match_data, path, "matchData", &mut all, |filter| {
        argument(Source::Data(filter.index), hook.data.get(filter.index as usize)?.ty, filter)
    });
    each(&selector.match_return_args, path, "matchReturnArgs", &mut all, |filter| {
        let arg = hook.return_arg.as_ref().filter(|_| hook.on_return)?;
        argument(Source::Return, arg.ty, filter)
    });
    each(&selector.match_binaries, path, "matchBinaries", &mut all, |f| program(Key::Program, f));
    each(&selector.match_parent_binaries, path, "matchParentBinaries", &mut all, |filter| {
        program(Key::ParentProgram, filter)
    });
    each(&selector.match_pids, path, "matchPIDs", &mut all, pids);
    each(&selector.match_namespaces, path, "matchNamespaces", &mut all, namespaces);
    each(&selector.match_capabilities, path, "matchCapabilities", &mut all, capabilities);
    let unknown = |_: &_| None;
    each(&selector.match_capability_changes, path, "matchCapabilityChanges", &mut all, unknown);
    each(&selector.match_namespace_changes, path, "matchNamespaceChanges", &mut all, |_| None);
    for filter in &selector.match_workloads {
        all.extend(workloads(filter, &path.field("matchWorkloads")));
    }
    all
}

fn each<T: Debug>(
    filters: &[T],
    path: &FieldPath,
    name: &str,
    all: &mut Vec<Condition>,
    read: impl Fn(&T) -> Option<(Key, Set)>,
) {
    for (i, filter) in filters.iter().enumerate() {
        let path = path.field(name).index(i);
        all.push(match read(filter) {
            Some((key, set)) => Condition { key, set, path },
            None => opaque(name, filter, path),
        });
    }
}

/// The conditions of a label selector.
pub fn labels(of: Subject, selector: &LabelSelector, path: &FieldPath) -> Vec<Condition> {
    let condition = |key: &String, negated, atoms, path| Condition {
        key: Key::Label(of, key.clone()),
        set: Set::Text(TextSet::of(Clause { negated, atoms })),
        path,
    };
    let equal = |values: &[String]| values.iter().cloned().map(Atom::Equal).collect::<Vec<_>>();
    let by_label = selector.match_labels.iter().map(|(key, value)| {
        condition(key, false, equal(std::slice::from_ref(value)), path.field("matchLabels").field(key))
    });
    let by_expression = selector.match_expressions.iter().enumerate().map(|(i, expression)| {
        // Every text begins with nothing; there being none doesn't.
        let any = vec![Atom::Prefix(String::new())];
        let (negated, atoms) = match expression.operator {
            LabelOperator::In => (false, equal(&expression.values)),
            LabelOperator::NotIn => (true, equal(&expression.values)),
            LabelOperator::Exists => (false, any),
            LabelOperator::DoesNotExist => (true, any),
        };
        condition(&expression.key, negated, atoms, path.field("matchExpressions").index(i))
    });
    by_label.chain(by_expression).collect()
}

/// `matchWorkloads`: pods and containers are both asked for. With a host as well it is one or the other, of which
/// nothing is concluded.
fn workloads(filter: &WorkloadFilter, path: &FieldPath) -> Vec<Condition> {
    if filter.host_selector.is_some() {
        return vec![opaque("matchWorkloads", filter, path.clone())];
    }
    // Whether the host is left out hangs on which selectors there are, not on what is in them.
    let shape = (filter.pod_selector.is_some(), filter.container_selector.is_some());
    let mut all = vec![opaque("matchWorkloads", &shape, path.clone())];
    if let Some(pods) = &filter.pod_selector {
        all.extend(labels(Subject::Pod, pods, &path.field("podSelector")));
    }
    if let Some(containers) = &filter.container_selector {
        all.extend(labels(Subject::Container, containers, &path.field("containerSelector")));
    }
    all
}

fn opaque(name: &str, filter: &impl Debug, path: FieldPath) -> Condition {
    let set = Set::Ints(IntSet::all(0, 1, false).within(vec![(1, 1)]));
    Condition { key: Key::Opaque(format!("{name} {filter:?}")), set, path }
}

/// A filter on a value of a type.
fn argument(source: Source, ty: ArgType, filter: &ArgFilter) -> Option<(Key, Set)> {
    let class = class(ty);
    if !class.takes(filter.operator) {
        return None;
    }
    let (aspect, set) = match filter.operator {
        Operator::FileType | Operator::NotFileType => {
            let types = all(&filter.values, |text| constants::file_type(text).map(one))?;
            (Aspect::FileType, ints(0, 0o170_000, filter.operator == Operator::NotFileType, types))
        }
        _ => match class {
            Class::Int { bits, signed } => (Aspect::Whole, Set::Ints(integer(filter, bits, signed)?)),
            Class::Text | Class::Path => (Aspect::Whole, text(filter.operator, &filter.values)?),
            Class::UnixSocket if filter.operator != Operator::Family => {
                (Aspect::Whole, text(filter.operator, &filter.values)?)
            }
            Class::Socket | Class::Address | Class::UnixSocket => socket(filter)?,
            Class::Capabilities if ty != ArgType::Cred => (Aspect::Whole, Set::Ints(capability_set(filter)?)),
            _ => return None,
        },
    };
    Some((Key::Value(source, aspect), set))
}

/// Every value of a list, if each of them can be read and there is one.
fn all<T>(texts: &[String], read: impl Fn(&str) -> Result<T, ValueError>) -> Option<Vec<T>> {
    let values = texts.iter().map(|text| read(text)).collect::<Result<Vec<T>, _>>().ok()?;
    (!values.is_empty()).then_some(values)
}

fn one(number: u32) -> (i128, i128) {
    (number.into(), number.into())
}

/// A set of integers where there may be no value.
fn ints(min: i128, max: i128, negated: bool, ranges: Vec<(i128, i128)>) -> Set {
    let all = IntSet::all(min, max, true);
    Set::Ints(if negated { all.outside(ranges) } else { all.within(ranges) })
}

fn integer(filter: &ArgFilter, bits: u8, signed: bool) -> Option<IntSet> {
    let (min, max) = values::bounds(bits, signed);
    let everything = IntSet::all(min, max, false);
    let single = |text: &str| values::integer_of(text, bits, signed).map(|v| (v, v));
    let either = |text: &str| {
        if text.contains(':') { values::range_of(text, bits, signed) } else { single(text) }
    };
    let texts = &filter.values;
    Some(match filter.operator {
        Operator::Equal => everything.within(all(texts, single)?),
        Operator::NotEqual => everything.outside(all(texts, single)?),
        Operator::InMap | Operator::InRange => everything.within(all(texts, either)?),
        Operator::NotInMap | Operator::NotInRange => everything.outside(all(texts, either)?),
        Operator::Gt => {
            everything.within(all(texts, single)?.into_iter().map(|(v, _)| (v + 1, max)).collect())
        }
        Operator::Lt => {
            everything.within(all(texts, single)?.into_iter().map(|(v, _)| (min, v - 1)).collect())
        }
        Operator::Mask => {
            let masks = all(texts, |text| values::mask_of(text, bits, signed))?;
            everything.sharing(masks.into_iter().fold(0, |all, mask| all | mask))
        }
        _ => return None,
    })
}

/// A filter on a `kernel_cap_t`: numbers, or names joined by commas.
fn capability_set(filter: &ArgFilter) -> Option<IntSet> {
    let everything = IntSet::all(0, u64::MAX.into(), false);
    let read = all(&filter.values, |text| constants::capabilities(text).map(i128::from))?;
    Some(match filter.operator {
        Operator::Equal => everything.within(read.into_iter().map(|v| (v, v)).collect()),
        Operator::NotEqual => everything.outside(read.into_iter().map(|v| (v, v)).collect()),
        Operator::Gt => everything.within(read.into_iter().map(|v| (v + 1, u64::MAX.into())).collect()),
        Operator::Lt => everything.within(read.into_iter().map(|v| (0, v - 1)).collect()),
        Operator::Mask => {
            let mask = read.into_iter().fold(0, |all, mask| all | mask);
            everything.sharing(u64::try_from(mask).unwrap_or_default())
        }
        _ => return None,
    })
}

fn text(operator: Operator, values: &[String]) -> Option<Set> {
    let (negated, atom): (bool, fn(String) -> Atom) = match operator {
        Operator::Equal | Operator::In => (false, Atom::Equal),
        Operator::NotEqual | Operator::NotIn => (true, Atom::Equal),
        Operator::Prefix => (false, Atom::Prefix),
        Operator::NotPrefix => (true, Atom::Prefix),
        Operator::Postfix => (false, Atom::Postfix),
        Operator::NotPostfix => (true, Atom::Postfix),
        Operator::SubString => (false, Atom::Contains),
        _ => return None,
    };
    if values.is_empty() || values.iter().any(|value| value.is_empty() || value.contains('\0')) {
        return None;
    }
    let atoms = values.iter().cloned().map(atom).collect();
    Some(Set::Text(TextSet::of(Clause { negated, atoms })))
}

fn socket(filter: &ArgFilter) -> Option<(Aspect, Set)> {
    use Operator as O;
    let operator = filter.operator;
    let aspect = Aspect::Socket(SocketPart::of(operator)?);
    let negated = SocketPart::is_negated(operator);
    let texts = &filter.values;
    let set = match operator {
        O::SAddr | O::NotSAddr | O::DAddr | O::NotDAddr => {
            let networks = all(texts, address::network)?;
            let ranges = networks.iter().flat_map(address::Written::networks).map(|n| addresses(&n));
            ints(i128::MIN, i128::MAX, negated, ranges.collect())
        }
        O::SPortPriv | O::NotSPortPriv | O::DPortPriv | O::NotDPortPriv if texts.is_empty() => {
            ints(0, u16::MAX.into(), negated, vec![(0, 1023)])
        }
        O::SPort | O::NotSPort | O::DPort | O::NotDPort => {
            let ports = all(texts, |text| values::ports(text).map(|(a, b)| (i128::from(a), i128::from(b))))?;
            ints(0, u16::MAX.into(), negated, ports)
        }
        O::Protocol => ints(0, u16::MAX.into(), false, all(texts, |t| constants::protocol(t).map(one))?),
        O::Family => ints(0, u16::MAX.into(), false, all(texts, |t| constants::family(t).map(one))?),
        O::State => ints(0, u8::MAX.into(), false, all(texts, |t| constants::tcp_state(t).map(one))?),
        _ => return None,
    };
    Some((aspect, set))
}

/// The addresses of a network, in the order of addresses: the first is the least integer.
fn addresses(network: &crate::plan::Network) -> (i128, i128) {
    let ordered = |address: u128| (address ^ (1 << 127)).cast_signed();
    let first = u128::from_be_bytes(network.address);
    let rest = u128::MAX.checked_shr(u32::from(network.prefix)).unwrap_or(0);
    (ordered(first), ordered(first | rest))
}

fn program(key: Key, filter: &BinaryFilter) -> Option<(Key, Set)> {
    // Its ancestors' programs are no single string.
    (!filter.follow_children).then_some(())?;
    Some((key, text(filter.operator, &filter.values)?))
}

fn pids(filter: &PidFilter) -> Option<(Key, Set)> {
    if filter.follow_forks || filter.values.is_empty() {
        return None;
    }
    let ranges = filter.values.iter().map(|pid| one(*pid)).collect();
    let set = ints(0, u32::MAX.into(), filter.operator == Operator::NotIn, ranges);
    Some((Key::Pid { namespaced: filter.is_namespace_pid }, set))
}

fn namespaces(filter: &NamespaceFilter) -> Option<(Key, Set)> {
    let read = all(&filter.values, values::namespace)?;
    let negated = filter.operator == Operator::NotIn;
    if read.iter().all(|value| *value == NamespaceValue::Host) {
        return Some((Key::HostNamespace(filter.namespace), ints(0, 1, negated, vec![(1, 1)])));
    }
    let inodes = read.into_iter().map(|value| match value {
        NamespaceValue::Inode(inode) => Some(one(inode)),
        NamespaceValue::Host => None,
    });
    let inodes = inodes.collect::<Option<Vec<_>>>()?;
    Some((Key::Namespace(filter.namespace), ints(0, u32::MAX.into(), negated, inodes)))
}

fn capabilities(filter: &CapabilityFilter) -> Option<(Key, Set)> {
    let mask = all(&filter.values, constants::capability)?.into_iter().fold(0_u64, |m, n| m | 1 << n);
    let everything = IntSet::all(0, u64::MAX.into(), false);
    let set = match filter.operator {
        Operator::In => everything.sharing(mask),
        Operator::NotIn => everything.avoiding(mask),
        _ => return None,
    };
    Some((Key::Capabilities(filter.set, filter.is_namespace_capability), Set::Ints(set)))
}
