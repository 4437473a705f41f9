//! Values of each type.

use gatewatch_events::{
    Value,
    argument::{
        kernel::{
            BpfCommand, BpfMap, BpfProgram, Module, NetDevice, OlderUserNamespace, PerfEvent, SyscallId,
        },
        objects::{CapabilityValue, Skb, Sockaddr, SockaddrUn, TruncatedBytes, capability_digits},
    },
    bits::Taints,
};

use crate::samples::{capabilities, credentials, file, namespace, text, user_namespace};

pub(crate) fn program() -> BpfProgram {
    BpfProgram {
        prog_type: "BPF_PROG_TYPE_KPROBE".to_owned(),
        insn_cnt: 1_000,
        prog_name: "probe".to_owned(),
    }
}

pub(crate) fn map() -> BpfMap {
    BpfMap {
        map_type: "BPF_MAP_TYPE_HASH".to_owned(),
        key_size: 4,
        value_size: 8,
        max_entries: 1024,
        map_name: "counts".to_owned(),
    }
}

pub(crate) fn perf_event() -> PerfEvent {
    PerfEvent {
        kprobe_func: "commit_creds".to_owned(),
        kind: "PERF_TYPE_TRACEPOINT".to_owned(),
        config: u64::MAX,
        probe_offset: 4,
    }
}

/// A value of each type that no function above has, and the ends of the ranges.
pub(crate) fn values() -> Vec<Value> {
    let bytes_arg = vec![0xff; 4];
    let skb = Skb {
        hash: 1,
        len: 60,
        priority: 1,
        mark: 2,
        saddr: "2001:db8::1".to_owned(),
        daddr: "2001:db8::2".to_owned(),
        sport: 1,
        dport: 65_535,
        proto: 17,
        sec_path_len: 1,
        sec_path_olen: 1,
        protocol: "IPPROTO_UDP".to_owned(),
        family: "AF_INET6".to_owned(),
    };
    vec![
        text(""),
        Value::Int(i32::MIN),
        Value::Uint(u32::MAX),
        Value::Long(i64::MIN),
        Value::Long(0),
        Value::Size(u64::MAX),
        Value::TruncatedBytes(TruncatedBytes { bytes_arg, orig_size: 1 << 40 }),
        Value::LinuxBinprm(file("/bin/sh")),
        Value::Skb(Box::new(skb)),
        Value::Sock(Box::default()),
        Value::Sockaddr(Sockaddr { family: "AF_INET".to_owned(), addr: "192.0.2.1".to_owned(), port: 53 }),
        Value::SockaddrUn(SockaddrUn { family: "AF_UNIX".to_owned(), path: "@abstract".to_owned() }),
        Value::ProcessCredentials(Box::new(credentials())),
        Value::UserNs(user_namespace()),
        Value::Capability(CapabilityValue { value: Some(0), name: "CAP_CHOWN".to_owned() }),
        Value::KernelCap(capability_digits(0x1ff_ffff_ffff)),
        Value::CapInheritable(capability_digits(0)),
        Value::CapPermitted(capability_digits(1)),
        Value::CapEffective(capability_digits(1)),
        Value::BpfProg(program()),
        Value::BpfCmd(BpfCommand(0)),
        Value::BpfCmd(BpfCommand(5)),
        Value::Module(Module {
            name: "dummy".to_owned(),
            signature_ok: Some(false),
            tainted: Taints::new(1 << 12 | 1 << 13),
        }),
        Value::SyscallId(SyscallId { id: 1, abi: "x64".to_owned() }),
        Value::error("Bad address for basic type"),
        Value::UserNamespace(OlderUserNamespace {
            level: Some(1),
            owner: Some(0),
            group: Some(0),
            ns: Some(namespace()),
        }),
        Value::Cred(capabilities()),
        Value::NetDev(NetDevice { name: "eth0".to_owned() }),
    ]
}
