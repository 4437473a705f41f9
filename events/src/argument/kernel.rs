//! Parts of the kernel as values of arguments: BPF programs and maps, modules, system calls.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    bits::Taints,
    json::{Name, decimal, unset},
    process::Namespace,
};

/// A BPF program, as Tetragon's `KprobeBpfAttr` and `KprobeBpfProg`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct BpfProgram {
    /// Its type, `BPF_PROG_TYPE_…`.
    #[serde(skip_serializing_if = "unset")]
    pub prog_type: String,
    /// The number of its instructions.
    #[serde(skip_serializing_if = "unset")]
    pub insn_cnt: u32,
    /// Its name.
    #[serde(skip_serializing_if = "unset")]
    pub prog_name: String,
}

/// A BPF map, as Tetragon's `KprobeBpfMap`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields of the kernel's struct bpf_map")]
pub struct BpfMap {
    #[serde(skip_serializing_if = "unset")]
    pub map_type: String,
    #[serde(skip_serializing_if = "unset")]
    pub key_size: u32,
    #[serde(skip_serializing_if = "unset")]
    pub value_size: u32,
    #[serde(skip_serializing_if = "unset")]
    pub max_entries: u32,
    #[serde(skip_serializing_if = "unset")]
    pub map_name: String,
}

/// An event of perf, as Tetragon's `KprobePerfEvent`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PerfEvent {
    /// The function of a kprobe.
    #[serde(skip_serializing_if = "unset")]
    pub kprobe_func: String,
    /// Its type, `PERF_TYPE_…`.
    #[serde(rename = "Type", skip_serializing_if = "unset")]
    pub kind: String,
    /// `config` of `struct perf_event_attr`.
    #[serde(with = "decimal", skip_serializing_if = "unset")]
    pub config: u64,
    /// The offset of a kprobe in its function.
    #[serde(with = "decimal", skip_serializing_if = "unset")]
    pub probe_offset: u64,
}

/// A module of the kernel, as Tetragon's `KernelModule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Module {
    /// Its name.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// Whether its signature is valid; `None` if the kernel does not tell.
    #[serde(skip_serializing_if = "unset")]
    pub signature_ok: Option<bool>,
    /// How it taints the kernel.
    #[serde(skip_serializing_if = "unset")]
    pub tainted: Taints,
}

/// A system call, as Tetragon's `SyscallId`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyscallId {
    /// Its number.
    #[serde(skip_serializing_if = "unset")]
    pub id: u32,
    /// The interface: `x64`, `i386`, `arm64` or `arm32`.
    #[serde(skip_serializing_if = "unset")]
    pub abi: String,
}

/// Why a value could not be read, as Tetragon's `KprobeError`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorMessage {
    /// A sentence.
    #[serde(rename = "Message", skip_serializing_if = "unset")]
    pub message: String,
}

/// A user namespace, as Tetragon's `KprobeUserNamespace`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OlderUserNamespace {
    /// The level of nesting; the host's is 0.
    #[serde(skip_serializing_if = "unset")]
    pub level: Option<i32>,
    /// The owner's user id.
    #[serde(skip_serializing_if = "unset")]
    pub owner: Option<u32>,
    /// The owner's group id.
    #[serde(skip_serializing_if = "unset")]
    pub group: Option<u32>,
    /// The namespace.
    #[serde(skip_serializing_if = "unset")]
    pub ns: Option<Namespace>,
}

/// A network device, as Tetragon's `KprobeNetDev`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetDevice {
    /// Its name.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
}

/// The commands of bpf(2) in the order of their numbers (`enum bpf_cmd` of `include/uapi/linux/bpf.h`).
const COMMANDS: [&str; 37] = [
    "BPF_MAP_CREATE",
    "BPF_MAP_LOOKUP_ELEM",
    "BPF_MAP_UPDATE_ELEM",
    "BPF_MAP_DELETE_ELEM",
    "BPF_MAP_GET_NEXT_KEY",
    "BPF_PROG_LOAD",
    "BPF_OBJ_PIN",
    "BPF_OBJ_GET",
    "BPF_PROG_ATTACH",
    "BPF_PROG_DETACH",
    "BPF_PROG_TEST_RUN",
    "BPF_PROG_GET_NEXT_ID",
    "BPF_MAP_GET_NEXT_ID",
    "BPF_PROG_GET_FD_BY_ID",
    "BPF_MAP_GET_FD_BY_ID",
    "BPF_OBJ_GET_INFO_BY_FD",
    "BPF_PROG_QUERY",
    "BPF_RAW_TRACEPOINT_OPEN",
    "BPF_BTF_LOAD",
    "BPF_BTF_GET_FD_BY_ID",
    "BPF_TASK_FD_QUERY",
    "BPF_MAP_LOOKUP_AND_DELETE_ELEM",
    "BPF_MAP_FREEZE",
    "BPF_BTF_GET_NEXT_ID",
    "BPF_MAP_LOOKUP_BATCH",
    "BPF_MAP_LOOKUP_AND_DELETE_BATCH",
    "BPF_MAP_UPDATE_BATCH",
    "BPF_MAP_DELETE_BATCH",
    "BPF_LINK_CREATE",
    "BPF_LINK_UPDATE",
    "BPF_LINK_GET_FD_BY_ID",
    "BPF_LINK_GET_NEXT_ID",
    "BPF_ENABLE_STATS",
    "BPF_ITER_CREATE",
    "BPF_LINK_DETACH",
    "BPF_PROG_BIND_MAP",
    "BPF_TOKEN_CREATE",
];

/// A command of bpf(2), by its number. One without a name is written as its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BpfCommand(pub u32);

impl BpfCommand {
    /// Its name.
    pub fn name(self) -> Option<&'static str> {
        COMMANDS.get(self.0 as usize).copied()
    }
}

impl Serialize for BpfCommand {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.name() {
            Some(name) => serializer.serialize_str(name),
            None => serializer.serialize_u32(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for BpfCommand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = match Name::deserialize(deserializer)? {
            Name::Text(name) => COMMANDS.iter().position(|known| *known == name).unwrap_or_default() as u64,
            Name::Number(number) => number,
        };
        Ok(Self(u32::try_from(number).unwrap_or_default()))
    }
}
