//! The event of a test, in the form that the evaluator reads.

use std::{cell::RefCell, collections::BTreeMap, net::IpAddr};

use anyhow::{Context as _, Result, anyhow, bail};
use gatewatch_coverage::{Container, Shape, read::repository};
use gatewatch_policy::{
    compile::Environment,
    evaluate::{Event, Value},
    model::{CapabilitySet, NamespaceKind},
    plan::{Field, SocketPart},
    scope::Scope,
    values::{HOST_NAMESPACE, constants, integer},
};
use serde_json::Value as Json;

use super::file::{Case, Process};

/// A namespace other than the node's own. Kernels never assign such numbers.
const OTHER_NAMESPACE: i128 = 0xF000_0000;

/// The event that a test describes.
pub(super) struct TestEvent<'a> {
    case: &'a Case,
    shape: Option<Shape>,
    capabilities: BTreeMap<CapabilitySet, i128>,
    namespaces: BTreeMap<NamespaceKind, i128>,
    /// The first field that a policy reads and that the test does not set, or sets to an invalid value.
    missing: RefCell<Option<String>>,
}

impl<'a> TestEvent<'a> {
    /// Reads the parts that do not depend on the policy.
    pub(super) fn new(case: &'a Case, environment: Environment<'_>) -> Result<Self> {
        let shape = case.pod.as_ref().map(|pod| Shape {
            namespace: pod.namespace.clone(),
            labels: pod.labels.clone(),
            containers: Some(vec![Container {
                name: pod.container.clone(),
                repo: repository(&pod.image).to_owned(),
            }]),
        });
        let process = &case.process;
        Ok(Self {
            case,
            shape,
            capabilities: capabilities(process)?,
            namespaces: namespaces(process, environment)?,
            missing: RefCell::new(None),
        })
    }

    pub(super) fn is_selected_by(&self, scope: &Scope) -> bool {
        match (&self.shape, &scope.pods) {
            (None, _) => scope.host,
            (Some(shape), Some(pods)) => shape.is_selected_by(pods),
            (Some(_), None) => false,
        }
    }

    pub(super) fn subject(&self) -> &'static str {
        if self.shape.is_some() { "this pod" } else { "host processes" }
    }

    /// The field that a policy reads and that the test does not set.
    pub(super) fn missing(&self) -> Option<String> {
        self.missing.borrow().clone()
    }

    fn read(&self, field: Field) -> Result<Option<Value>> {
        let process = &self.case.process;
        let number = |value: Option<i128>, what: &str| match value {
            Some(value) => Ok(Some(Value::Int(value))),
            None => Err(anyhow!("{what}")),
        };
        match field {
            Field::Arg { index, bits, signed } => {
                let (value, what) = (self.argument(index)?, format!("`args[{index}]` as a number"));
                value.map(|value| whole(value, bits, signed).with_context(|| what)).transpose()
            }
            Field::Syscall(index) => {
                let (value, what) = (self.argument(index)?, format!("`args[{index}]` as a number"));
                value.map(|value| whole(value, 64, false).with_context(|| what)).transpose()
            }
            Field::Return { bits, signed } => match &self.case.result {
                Some(value) => whole(value, bits, signed).context("`return` as a number").map(Some),
                None => bail!("`return`"),
            },
            Field::File(i)
            | Field::Path(i)
            | Field::Dentry(i)
            | Field::Binprm(i)
            | Field::KernelString(i)
            | Field::UserString(i)
            | Field::TracepointString(i)
            | Field::Descriptor(i)
            | Field::UnixName { index: i, .. }
            | Field::DeviceName(i) => match self.argument(i)? {
                Some(Json::String(text)) => Ok(Some(Value::Text(text.clone().into_bytes()))),
                // A file with its type.
                Some(Json::Object(file)) if file.contains_key("type") => Ok(file
                    .get("path")
                    .and_then(Json::as_str)
                    .map(|path| Value::Text(path.as_bytes().to_vec()))),
                Some(_) => bail!("`args[{i}]` as a string"),
                None => Ok(None),
            },
            Field::FileType(i) | Field::PathType(i) | Field::DescriptorType(i) => {
                self.member(i, "type", |text| {
                    Some(Value::Int(i128::from(constants::file_type_number(text).ok()?)))
                })
            }
            Field::Descends { namespaced, pids } => {
                let (own, ancestors, what) = if namespaced {
                    (process.namespace_pid, &process.ancestor_namespace_pids, "`process.namespacePid`")
                } else {
                    (process.pid, &process.ancestor_pids, "`process.pid`")
                };
                let own = own.with_context(|| what)?;
                let one = ancestors.iter().chain([&own]).any(|pid| pids.contains(pid));
                Ok(Some(Value::Int(i128::from(one))))
            }
            Field::SourceAddress(i) | Field::PacketSource(i) => {
                self.socket_part(i, SocketPart::SourceAddress)
            }
            Field::DestinationAddress(i) | Field::PacketDestination(i) => {
                self.socket_part(i, SocketPart::DestinationAddress)
            }
            Field::SourcePort(i) | Field::PacketSourcePort(i) => self.socket_part(i, SocketPart::SourcePort),
            Field::DestinationPort(i) | Field::PacketDestinationPort(i) => {
                self.socket_part(i, SocketPart::DestinationPort)
            }
            Field::Protocol(i) | Field::PacketProtocol(i) => self.socket_part(i, SocketPart::Protocol),
            Field::Family(i) | Field::PacketFamily(i) => self.socket_part(i, SocketPart::Family),
            Field::State(i) => self.socket_part(i, SocketPart::State),
            Field::Socket { index, part } | Field::Sockaddr { index, part } => self.socket_part(index, part),
            Field::WayNumber { .. } | Field::WayText { .. } => {
                bail!("a value of `resolve`, which a test cannot set")
            }
            Field::Binary => match &process.binary {
                Some(path) => Ok(Some(Value::Text(path.clone().into_bytes()))),
                None => bail!("`process.binary`"),
            },
            Field::Pid => number(process.pid.map(i128::from), "`process.pid`"),
            Field::NamespacePid => number(process.namespace_pid.map(i128::from), "`process.namespacePid`"),
            Field::Namespace(kind) => {
                number(self.namespaces.get(&kind).copied(), &format!("`process.namespaces.{kind}`"))
            }
            Field::CapabilityArg(i) => Ok(self.capability_argument(i)?.map(Value::Int)),
            Field::CapabilitiesGained { old, new } => {
                let sets = self.capability_argument(old)?.zip(self.capability_argument(new)?);
                Ok(sets.map(|(old, new)| Value::Int(new & !old)))
            }
            Field::Capabilities(set) => {
                number(self.capabilities.get(&set).copied(), &format!("`process.capabilities.{set}`"))
            }
        }
    }

    /// An argument; `None` for `null`, which has no value.
    fn argument(&self, index: u8) -> Result<Option<&Json>> {
        match self.case.args.get(usize::from(index)) {
            Some(Json::Null) => Ok(None),
            Some(value) => Ok(Some(value)),
            None => bail!("`args[{index}]`"),
        }
    }

    /// An argument that is a set of capabilities: their names in a list, or their bits as a number.
    fn capability_argument(&self, index: u8) -> Result<Option<i128>> {
        let what = || format!("`args[{index}]` as a list of capabilities");
        let set = match self.argument(index)? {
            None => return Ok(None),
            Some(Json::Array(names)) => names
                .iter()
                .try_fold(0, |set, name| Some(set | 1_u64 << constants::capability(name.as_str()?).ok()?)),
            Some(Json::Number(bits)) => bits.as_u64(),
            Some(Json::String(text)) => constants::capabilities(text).ok(),
            Some(_) => None,
        };
        set.map(|set| Some(i128::from(set))).with_context(what)
    }

    fn socket_part(&self, index: u8, part: SocketPart) -> Result<Option<Value>> {
        let number = |text: &str| named(text, |_| None);
        match part {
            SocketPart::SourceAddress => self.member(index, "saddr", address),
            SocketPart::DestinationAddress => self.member(index, "daddr", address),
            SocketPart::SourcePort => self.member(index, "sport", number),
            SocketPart::DestinationPort => self.member(index, "dport", number),
            SocketPart::Protocol => {
                self.member(index, "protocol", |text| named(text, |n| constants::protocol(n).ok()))
            }
            SocketPart::Family => {
                self.member(index, "family", |text| named(text, |n| constants::family(n).ok()))
            }
            SocketPart::State => {
                self.member(index, "state", |text| named(text, |n| constants::tcp_state(n).ok()))
            }
        }
    }

    fn member(&self, index: u8, name: &str, read: impl Fn(&str) -> Option<Value>) -> Result<Option<Value>> {
        match self.argument(index)?.map(|socket| socket.get(name)) {
            None | Some(Some(Json::Null)) => Ok(None),
            Some(Some(value)) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                read(&text).map(Some).ok_or_else(|| anyhow!("`args[{index}].{name}`, which cannot be {text}"))
            }
            Some(None) => bail!("`args[{index}].{name}`"),
        }
    }
}

impl Event for TestEvent<'_> {
    fn value(&self, field: Field) -> Option<Value> {
        match self.read(field) {
            Ok(value) => value,
            Err(error) => {
                self.missing.borrow_mut().get_or_insert_with(|| error.to_string());
                None
            }
        }
    }

    fn lineage(&self) -> Vec<Vec<u8>> {
        let own = self.value(Field::Binary).into_iter().filter_map(|value| match value {
            Value::Text(path) => Some(path),
            _ => None,
        });
        own.chain(self.case.process.ancestors.iter().map(|path| path.clone().into_bytes())).collect()
    }
}

/// A number, reduced to the bits of its type.
fn whole(value: &Json, bits: u8, signed: bool) -> Result<Value> {
    let number = match value {
        Json::Number(number) => number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)),
        Json::Bool(flag) => Some(i128::from(*flag)),
        Json::String(text) => integer(text).ok(),
        _ => None,
    };
    let number = number.context("expected an integer")?;
    let modulus = 1i128 << bits.min(64);
    let unsigned = number.rem_euclid(modulus);
    Ok(Value::Int(if signed && unsigned >= modulus / 2 { unsigned - modulus } else { unsigned }))
}

fn named(text: &str, by_name: impl Fn(&str) -> Option<u32>) -> Option<Value> {
    integer(text).ok().or_else(|| by_name(text).map(i128::from)).map(Value::Int)
}

fn address(text: &str) -> Option<Value> {
    let bytes = match text.parse().ok()? {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    Some(Value::Address(bytes))
}

fn capabilities(process: &Process) -> Result<BTreeMap<CapabilitySet, i128>> {
    let Some(sets) = &process.capabilities else { return Ok(BTreeMap::new()) };
    let mut found = BTreeMap::new();
    for (set, names) in sets {
        let set = CapabilitySet::from_name(set).with_context(|| {
            format!("unknown capability set {set:?}: expected one of {}", CapabilitySet::NAMES.join(", "))
        })?;
        let mut bits = 0;
        for name in names {
            bits |=
                1 << constants::capability(name).with_context(|| format!("unknown capability {name:?}"))?;
        }
        found.insert(set, bits);
    }
    Ok(found)
}

fn namespaces(process: &Process, environment: Environment<'_>) -> Result<BTreeMap<NamespaceKind, i128>> {
    let mut found = BTreeMap::new();
    for (kind, value) in process.namespaces.iter().flatten() {
        let kind = NamespaceKind::from_name(kind).with_context(|| {
            format!("unknown namespace kind {kind:?}: expected one of {}", NamespaceKind::NAMES.join(", "))
        })?;
        let inode = match value {
            Json::String(text) if text == HOST_NAMESPACE => environment
                .host_namespaces
                .get(&kind)
                .copied()
                .map(i128::from)
                .context("the host has no namespace of this kind")?,
            Json::String(text) if text == "other" => OTHER_NAMESPACE,
            Json::Number(number) => number.as_u64().map(i128::from).context("invalid namespace number")?,
            _ => bail!("invalid namespace {value}: expected `host_ns`, `other` or a number"),
        };
        found.insert(kind, inode);
    }
    Ok(found)
}
