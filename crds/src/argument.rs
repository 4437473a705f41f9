//! What a hook reads: arguments, data and the returned value.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One value that a hook reads: an argument of the function, a datum from another source, or the returned value.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Argument {
    /// Name of the kernel's type, if the function does not determine it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub btf_type: Option<String>,

    /// Module whose BTF contains btfType.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub btf_type_module: Option<String>,

    /// Position of the argument, from 0.
    pub index: u32,

    /// A name for the value in events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,

    /// `char_buf`: read up to 327,360 bytes (kernel 5.4 and later) instead of 4,096 bytes.
    #[serde(default)]
    pub max_data: bool,

    /// Path from the argument to the value, for example `mm.owner.pid` or `fd[2].file`. At most 10 steps.
    #[serde(default)]
    pub resolve: String,

    /// `char_buf`, `char_iovec`: read the buffer when the function returns, after the kernel has filled it.
    #[serde(default)]
    pub return_copy: bool,

    /// `char_buf`, `char_iovec`: position, from 1, of the argument that holds the length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_arg_index: Option<u32>,

    /// Only in data: source of the value, `current_task` or `pt_regs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,

    /// Type of the value.
    #[serde(default, rename = "type")]
    pub kind: ArgumentType,
}

/// The types of values.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgumentType {
    /// The type in the tracepoint's format. Only for tracepoints.
    #[default]
    Auto,
    /// 32 bits, signed.
    Int,
    /// 8 bits, signed.
    #[serde(rename = "sint8")]
    Sint8,
    /// 8 bits, signed.
    #[serde(rename = "int8")]
    Int8,
    /// 8 bits, unsigned.
    #[serde(rename = "uint8")]
    Uint8,
    /// 16 bits, signed.
    #[serde(rename = "sint16")]
    Sint16,
    /// 16 bits, signed.
    #[serde(rename = "int16")]
    Int16,
    /// 16 bits, unsigned.
    #[serde(rename = "uint16")]
    Uint16,
    /// 32 bits, unsigned.
    #[serde(rename = "uint32")]
    Uint32,
    /// 32 bits, signed.
    #[serde(rename = "sint32")]
    Sint32,
    /// 32 bits, signed.
    #[serde(rename = "int32")]
    Int32,
    /// 64 bits, unsigned.
    Ulong,
    /// 64 bits, unsigned.
    #[serde(rename = "uint64")]
    Uint64,
    /// 64 bits, unsigned.
    SizeT,
    /// 64 bits, signed.
    Long,
    /// 64 bits, signed.
    #[serde(rename = "sint64")]
    Sint64,
    /// 64 bits, signed.
    #[serde(rename = "int64")]
    Int64,
    /// A buffer with a length.
    CharBuf,
    /// An array of buffers.
    CharIovec,
    /// `struct sk_buff`.
    Skb,
    /// `struct sock`.
    Sock,
    /// `struct sockaddr`.
    Sockaddr,
    /// `struct socket`.
    Socket,
    /// `struct sockaddr_un`: the path of a unix socket.
    SockaddrUn,
    /// A string that ends with a NUL.
    String,
    /// A file descriptor.
    Fd,
    /// `struct file`.
    File,
    /// `struct filename`.
    Filename,
    /// `struct path`.
    Path,
    /// Do not read the value.
    Nop,
    /// `union bpf_attr`.
    BpfAttr,
    /// `struct perf_event`.
    PerfEvent,
    /// `struct bpf_map`.
    BpfMap,
    /// `struct user_namespace`.
    UserNamespace,
    /// The number of a capability.
    Capability,
    /// `struct kiocb`: the file to read or write.
    Kiocb,
    /// `struct iov_iter`.
    IovIter,
    /// `struct cred`.
    Cred,
    /// A buffer of fixed length in a tracepoint's fields.
    ConstBuf,
    /// `struct load_info`: a module while it is loaded.
    LoadInfo,
    /// `struct module`.
    Module,
    /// The number of a system call, with its ABI.
    Syscall64,
    /// A capability set.
    KernelCapT,
    /// The inheritable set of a `struct cred`.
    CapInheritable,
    /// The permitted set of a `struct cred`.
    CapPermitted,
    /// The effective set of a `struct cred`.
    CapEffective,
    /// `struct linux_binprm`: the file that is executed.
    LinuxBinprm,
    /// A string at a variable position in a tracepoint's data.
    DataLoc,
    /// `struct net_device`.
    NetDevice,
    /// The command of a bpf system call.
    BpfCmd,
    /// `struct dentry`.
    Dentry,
    /// `struct bpf_prog`.
    BpfProg,
}
