//! Arguments of hooks and their values.

pub mod kernel;
pub mod objects;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    argument::{
        kernel::{
            BpfCommand, BpfMap, BpfProgram, ErrorMessage, Module, NetDevice, OlderUserNamespace, PerfEvent,
            SyscallId,
        },
        objects::{CapabilityValue, File, Skb, Sock, Sockaddr, SockaddrUn, TruncatedBytes},
    },
    json::{bytes, decimal, unset},
    process::{Capabilities, Credentials, UserNamespace},
};

/// One argument, as Tetragon's `KprobeArgument`. Arguments are in the order of the policy's `args`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Argument {
    /// The value. `None` only in records of another writer, with a type that this version does not know.
    #[serde(flatten)]
    pub value: Option<Value>,
    /// The `label` of the argument in the policy.
    #[serde(skip_serializing_if = "unset")]
    pub label: String,
}

impl Argument {
    /// An argument without a label.
    pub fn new(value: Value) -> Self {
        Self { value: Some(value), label: String::new() }
    }

    /// The same with the label of the policy.
    #[must_use]
    pub fn labelled(self, label: &str) -> Self {
        Self { label: label.to_owned(), ..self }
    }

    /// Its text, if it is a string or a path: the values that redaction changes.
    pub fn text_mut(&mut self) -> Option<&mut String> {
        Some(match self.value.as_mut()? {
            Value::String(text) => text,
            Value::File(file) | Value::Path(file) => &mut file.path,
            Value::LinuxBinprm(file) => &mut file.path,
            Value::SockaddrUn(address) => &mut address.path,
            _ => return None,
        })
    }
}

/// A value by its type in the policy. Each variant is one key (`int_arg`, …), and appears even if it is 0 or empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// `string`, `filename`, `net_device`, `data_loc`: [`text`](crate::text) converts the kernel's bytes.
    #[serde(rename = "string_arg")]
    String(String),
    /// `int`, `sint8` to `sint32`, `s8` to `s32`.
    #[serde(rename = "int_arg")]
    Int(i32),
    /// `uint8` to `uint32`.
    #[serde(rename = "uint_arg")]
    Uint(u32),
    /// `sint64`, `long`.
    #[serde(rename = "long_arg", with = "decimal")]
    Long(i64),
    /// `uint64`, `ulong`, `size_t`, and each element of a tracepoint's array.
    #[serde(rename = "size_arg", with = "decimal")]
    Size(u64),
    /// `char_buf`, `char_iovec`, `iov_iter`.
    #[serde(rename = "bytes_arg", with = "bytes")]
    Bytes(Vec<u8>),
    /// The same, cut.
    #[serde(rename = "truncated_bytes_arg")]
    TruncatedBytes(TruncatedBytes),
    /// `file`, `fd`, `kiocb`.
    #[serde(rename = "file_arg")]
    File(File),
    /// `path`, `dentry`.
    #[serde(rename = "path_arg")]
    Path(File),
    /// `linux_binprm`.
    #[serde(rename = "linux_binprm_arg")]
    LinuxBinprm(File),
    /// `sock`, `socket`.
    #[serde(rename = "sock_arg")]
    Sock(Box<Sock>),
    /// `skb`.
    #[serde(rename = "skb_arg")]
    Skb(Box<Skb>),
    /// `sockaddr` of IPv4 and IPv6.
    #[serde(rename = "sockaddr_arg")]
    Sockaddr(Sockaddr),
    /// `sockaddr_un`.
    #[serde(rename = "sockaddrun_arg")]
    SockaddrUn(SockaddrUn),
    /// `cred`.
    #[serde(rename = "process_credentials_arg")]
    ProcessCredentials(Box<Credentials>),
    /// `user_namespace`.
    #[serde(rename = "user_ns_arg")]
    UserNs(UserNamespace),
    /// `capability`.
    #[serde(rename = "capability_arg")]
    Capability(CapabilityValue),
    /// `kernel_cap_t`: [`objects::capability_digits`] of the set; so are the next three.
    #[serde(rename = "kernel_cap_t_arg")]
    KernelCap(String),
    /// `cap_inheritable`.
    #[serde(rename = "cap_inheritable_arg")]
    CapInheritable(String),
    /// `cap_permitted`.
    #[serde(rename = "cap_permitted_arg")]
    CapPermitted(String),
    /// `cap_effective`.
    #[serde(rename = "cap_effective_arg")]
    CapEffective(String),
    /// `bpf_attr`.
    #[serde(rename = "bpf_attr_arg")]
    BpfAttr(BpfProgram),
    /// `bpf_prog`.
    #[serde(rename = "bpf_prog_arg")]
    BpfProg(BpfProgram),
    /// `bpf_map`.
    #[serde(rename = "bpf_map_arg")]
    BpfMap(BpfMap),
    /// `bpf_cmd`.
    #[serde(rename = "bpf_cmd_arg")]
    BpfCmd(BpfCommand),
    /// `perf_event`.
    #[serde(rename = "perf_event_arg")]
    PerfEvent(PerfEvent),
    /// `module`, `load_info`.
    #[serde(rename = "module_arg")]
    Module(Module),
    /// `syscall64`.
    #[serde(rename = "syscall_id")]
    SyscallId(SyscallId),
    /// A value that could not be read. The message names the type and the reason.
    #[serde(rename = "error_arg")]
    Error(ErrorMessage),
    /// Of Tetragon's earlier versions.
    #[serde(rename = "user_namespace_arg")]
    UserNamespace(OlderUserNamespace),
    /// Of Tetragon's earlier versions.
    #[serde(rename = "cred_arg")]
    Cred(Capabilities),
    /// Of Tetragon's earlier versions.
    #[serde(rename = "net_dev_arg")]
    NetDev(NetDevice),
}

impl Value {
    /// A value that could not be read.
    pub fn error(message: impl Into<String>) -> Self {
        Self::Error(ErrorMessage { message: message.into() })
    }
}

/// An argument has one value and a label. A value of a type that this version does not know is left out, as protojson
/// does it with `DiscardUnknown`.
impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = serde_json::Map::<String, serde_json::Value>::deserialize(deserializer)?;
        let label = match fields.remove("label") {
            Some(serde_json::Value::String(label)) => label,
            None => String::new(),
            Some(other) => return Err(de::Error::custom(format_args!("invalid label {other}"))),
        };
        let known = fields.keys().find(|key| is_known(key)).cloned();
        let value = match known.and_then(|key| fields.remove_entry(&key)) {
            Some((key, value)) => {
                let single = serde_json::Map::from_iter([(key.clone(), value)]);
                let value = Value::deserialize(serde_json::Value::Object(single))
                    .map_err(|error| de::Error::custom(format_args!("{key}: {error}")))?;
                Some(value)
            }
            None => None,
        };
        Ok(Self { value, label })
    }
}

fn is_known(key: &str) -> bool {
    KEYS.contains(&key)
}

/// The keys of [`Value`], one for each variant.
pub const KEYS: &[&str] = &[
    "string_arg",
    "int_arg",
    "uint_arg",
    "long_arg",
    "size_arg",
    "bytes_arg",
    "truncated_bytes_arg",
    "file_arg",
    "path_arg",
    "linux_binprm_arg",
    "sock_arg",
    "skb_arg",
    "sockaddr_arg",
    "sockaddrun_arg",
    "process_credentials_arg",
    "user_ns_arg",
    "capability_arg",
    "kernel_cap_t_arg",
    "cap_inheritable_arg",
    "cap_permitted_arg",
    "cap_effective_arg",
    "bpf_attr_arg",
    "bpf_prog_arg",
    "bpf_map_arg",
    "bpf_cmd_arg",
    "perf_event_arg",
    "module_arg",
    "syscall_id",
    "error_arg",
    "user_namespace_arg",
    "cred_arg",
    "net_dev_arg",
];
