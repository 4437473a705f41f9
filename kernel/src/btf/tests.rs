//! The reader on the types of four kernels, and on bytes that are none.

use proptest::prelude::*;

use super::*;
use crate::{CType, Kind, Pointee, layout};

/// The stored BTF of a kernel (Debian's cloud kernels for amd64, read from `/sys/kernel/btf/vmlinux`).
pub(crate) fn stored(kernel: &str) -> Vec<u8> {
    let path = format!("{}/testdata/{kernel}.btf.zst", env!("CARGO_MANIFEST_DIR"));
    zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap()
}

pub(crate) const KERNELS: [&str; 4] = ["5.10", "6.1", "6.12", "7.3"];

/// Offsets in bytes on the four kernels, computed from the output of `bpftool btf dump file … format raw`.
const OFFSETS: &[(&str, &str, [u32; 4])] = &[
    ("file", "f_path", [16, 16, 64, 64]),
    ("path", "mnt", [0, 0, 0, 0]),
    ("path", "dentry", [8, 8, 8, 8]),
    ("dentry", "d_parent", [24, 24, 24, 24]),
    ("dentry", "d_name", [32, 32, 32, 32]),
    ("qstr", "len", [4, 4, 4, 4]),
    ("qstr", "name", [8, 8, 8, 8]),
    ("vfsmount", "mnt_root", [0, 0, 0, 0]),
    ("mount", "mnt", [32, 32, 32, 32]),
    ("mount", "mnt_parent", [16, 16, 16, 16]),
    ("mount", "mnt_mountpoint", [24, 24, 24, 24]),
    ("linux_binprm", "file", [64, 64, 64, 88]),
    ("task_struct", "tgid", [2236, 2420, 2436, 2876]),
    ("task_struct", "pid", [2232, 2416, 2432, 2872]),
    ("task_struct", "group_leader", [2296, 2480, 2496, 2936]),
    ("task_struct", "mm", [2056, 2272, 2304, 2744]),
    ("task_struct", "fs", [2800, 3040, 3040, 3480]),
    ("task_struct", "cred", [2720, 2960, 2960, 3392]),
    ("task_struct", "nsproxy", [2824, 3064, 3064, 3512]),
    ("task_struct", "thread_pid", [2336, 2520, 2536, 2976]),
    ("mm_struct", "exe_file", [928, 936, 1168, 1536]),
    ("fs_struct", "root", [24, 24, 24, 24]),
    ("pid", "level", [4, 4, 4, 4]),
    ("pid", "numbers", [96, 96, 112, 128]),
    ("upid", "nr", [0, 0, 0, 0]),
    ("upid", "ns", [8, 8, 8, 8]),
    ("nsproxy", "uts_ns", [8, 8, 8, 8]),
    ("nsproxy", "ipc_ns", [16, 16, 16, 16]),
    ("nsproxy", "mnt_ns", [24, 24, 24, 24]),
    ("nsproxy", "pid_ns_for_children", [32, 32, 32, 32]),
    ("nsproxy", "net_ns", [40, 40, 40, 40]),
    ("nsproxy", "time_ns", [48, 48, 48, 48]),
    ("nsproxy", "time_ns_for_children", [56, 56, 56, 56]),
    ("nsproxy", "cgroup_ns", [64, 64, 64, 64]),
    ("uts_namespace", "ns.inum", [432, 424, 424, 536]),
    ("ipc_namespace", "ns.inum", [848, 1120, 1136, 1304]),
    ("mnt_namespace", "ns.inum", [24, 16, 16, 88]),
    ("pid_namespace", "ns.inum", [136, 128, 128, 344]),
    ("net", "ns.inum", [136, 144, 136, 280]),
    ("time_namespace", "ns.inum", [40, 32, 32, 152]),
    ("cgroup_namespace", "ns.inum", [24, 16, 16, 88]),
    ("user_namespace", "ns.inum", [264, 256, 232, 344]),
    ("cred", "user_ns", [136, 136, 144, 144]),
    ("cred", "cap_effective", [60, 60, 64, 64]),
    ("cred", "cap_permitted", [52, 52, 56, 56]),
    ("cred", "cap_inheritable", [44, 44, 48, 48]),
    ("sock_common", "skc_family", [16, 16, 16, 16]),
    ("sock_common", "skc_state", [18, 18, 18, 18]),
    ("sock_common", "skc_num", [14, 14, 14, 14]),
    ("sock_common", "skc_dport", [12, 12, 12, 12]),
    ("sock_common", "skc_daddr", [0, 0, 0, 0]),
    ("sock_common", "skc_rcv_saddr", [4, 4, 4, 4]),
    ("sock_common", "skc_v6_daddr", [56, 56, 56, 56]),
    ("sock_common", "skc_v6_rcv_saddr", [72, 72, 72, 72]),
    ("sock", "sk_protocol", [540, 516, 574, 540]),
    ("cgroup", "kn", [248, 248, 256, 296]),
    ("cgroup", "root", [480, 656, 720, 808]),
    ("cgroup_root", "hierarchy_id", [12, 12, 12, 12]),
    ("kernfs_node", "id", [104, 104, 96, 96]),
];

#[test]
fn offsets_are_those_that_bpftool_gives() {
    for (i, kernel) in KERNELS.iter().enumerate() {
        let types = KernelTypes::new(stored(kernel)).unwrap();
        for (structure, path, offsets) in OFFSETS {
            assert_eq!(types.offset_of(structure, path), Some(offsets[i]), "{structure}.{path} on {kernel}");
        }
        let layout = layout(&types).unwrap();
        let tgid = OFFSETS.iter().find(|(structure, path, _)| (*structure, *path) == ("task_struct", "tgid"));
        assert_eq!(layout.task_tgid, tgid.unwrap().2[i]);
        assert_eq!(types.offset_of("task_struct", "no_such_member"), None);
        assert_eq!(types.offset_of("no_such_structure", "pid"), None);
        assert_eq!(types.offset_of("task_struct", ""), None);
        // A path does not follow pointers.
        assert_eq!(types.offset_of("task_struct", "cred.user_ns"), None);
        // A bit field of one bit.
        assert_eq!(types.offset_of("task_struct", "in_execve"), None);
        assert_eq!(types.member("task_struct", "in_execve").unwrap().bits, Some(1));
        // By the name of a typedef: an array of words up to 6.2, one word after that.
        assert_eq!(types.size_of("kernel_cap_t"), Some(8));
        assert_eq!(types.size_of("path"), Some(16));
    }
}

#[test]
fn a_field_that_is_missing_is_named() {
    let error = layout(&KernelTypes::new(Bytes::default().finish()).unwrap()).unwrap_err();
    assert_eq!((error.structure.as_str(), error.path.as_str()), ("file", "f_path"));
}

/// A function's declaration as C.
fn declaration(types: &KernelTypes, name: &str) -> Option<String> {
    let prototype = types.function(name)?;
    let mut params: Vec<String> =
        prototype.params.iter().map(|param| param.ty.declare(&param.name)).collect();
    params.extend(prototype.variadic.then(|| "...".to_owned()));
    Some(prototype.ret.declare(&format!("{name}({})", params.join(", "))))
}

#[test]
fn prototypes_are_those_of_the_source() {
    for kernel in KERNELS {
        let types = KernelTypes::new(stored(kernel)).unwrap();
        for expected in [
            "int security_file_permission(struct file *file, int mask)",
            "long __sys_setresuid(uid_t ruid, uid_t euid, uid_t suid)",
            "int security_mmap_file(struct file *file, unsigned long prot, unsigned long flags)",
            "int security_path_mknod(const struct path *dir, struct dentry *dentry, umode_t mode, unsigned int dev)",
            "int security_kernel_read_file(struct file *file, enum kernel_read_file_id id, bool contents)",
            "void free_module(struct module *mod)",
            "void do_exit(long code)",
            "long __x64_sys_execve(const struct pt_regs *regs)",
            "int _printk(const char *fmt, ...)",
        ] {
            let name = expected.split('(').next().unwrap().rsplit([' ', '*']).next().unwrap();
            if (kernel, name) != ("5.10", "_printk") {
                assert_eq!(declaration(&types, name).as_deref(), Some(expected), "{kernel}");
            }
        }
        // 6.1 has two of it, one from `COND_SYSCALL`.
        let unused = matches!(kernel, "5.10" | "6.12" | "7.3");
        let name = if unused { "__unused" } else { "regs" };
        assert_eq!(types.function("__x64_sys_execveat").unwrap().params[0].name, name, "{kernel}");
        assert_eq!(types.function("security_kernel_module_from_file"), None);
    }
    let types = KernelTypes::new(stored("7.3")).unwrap();
    assert_eq!(
        declaration(&types, "do_dentry_open").unwrap(),
        "int do_dentry_open(struct file *f, int (*open)(struct inode *, struct file *))"
    );
    assert_eq!(
        declaration(&types, "tcp_v4_connect").unwrap(),
        "int tcp_v4_connect(struct sock *sk, struct sockaddr_unsized *uaddr, int addr_len)"
    );
}

#[test]
fn types_are_what_they_are_underneath_typedefs() {
    for kernel in KERNELS {
        let types = KernelTypes::new(stored(kernel)).unwrap();
        let kind =
            |function: &str, param: usize| types.function(function).unwrap().params[param].ty.kind.clone();
        let structure = |name: &str| Kind::Pointer(Pointee::Struct(name.to_owned()));
        assert_eq!(kind("security_file_permission", 0), structure("file"));
        assert_eq!(kind("security_file_permission", 1), Kind::Int { bits: 32, signed: true });
        assert_eq!(kind("security_path_mknod", 0), structure("path"));
        assert_eq!(kind("security_path_mknod", 2), Kind::Int { bits: 16, signed: false });
        assert_eq!(kind("security_mmap_file", 1), Kind::Int { bits: 64, signed: false });
        assert_eq!(kind("__sys_setuid", 0), Kind::Int { bits: 32, signed: false });
        assert_eq!(kind("security_kernel_module_request", 0), Kind::Pointer(Pointee::Char));
        assert_eq!(
            kind("security_kernel_read_file", 1),
            Kind::Enum { name: "kernel_read_file_id".to_owned(), bits: 32 }
        );
        assert_eq!(kind("security_kernel_read_file", 2), Kind::Bool);
        assert_eq!(
            kind("do_dentry_open", if kernel < "6.12" && kernel != "7.3" { 2 } else { 1 }),
            Kind::Pointer(Pointee::Function)
        );
        assert_eq!(kind("security_path_chown", 1), Kind::Struct { name: "kuid_t".to_owned(), size: 4 });
        assert_eq!(types.function("free_module").unwrap().ret, CType::void());
        let caps = kind("security_capset", 2);
        let name = if matches!(kernel, "5.10" | "6.1") { "kernel_cap_struct" } else { "kernel_cap_t" };
        assert_eq!(caps, structure(name), "{kernel}");
    }
}

#[test]
fn types_are_read_from_text() {
    let types = KernelTypes::new(stored("6.12")).unwrap();
    let unsigned = |bits| Kind::Int { bits, signed: false };
    for (text, written, kind) in [
        ("const char *", "const char *", Kind::Pointer(Pointee::Char)),
        ("const char *const *", "const char *const *", Kind::Pointer(Pointee::Other)),
        ("struct robust_list_head * *", "struct robust_list_head **", Kind::Pointer(Pointee::Other)),
        ("umode_t", "umode_t", unsigned(16)),
        ("unsigned", "unsigned", unsigned(32)),
        ("unsigned long", "unsigned long", unsigned(64)),
        ("unsigned int *", "unsigned int *", Kind::Pointer(Pointee::Int { bits: 32, signed: false })),
        ("const int", "const int", Kind::Int { bits: 32, signed: true }),
        ("void *", "void *", Kind::Pointer(Pointee::Void)),
        ("struct sockaddr *", "struct sockaddr *", Kind::Pointer(Pointee::Struct("sockaddr".to_owned()))),
        ("struct no_such *", "struct no_such *", Kind::Pointer(Pointee::Struct("no_such".to_owned()))),
        ("union bpf_attr *", "union bpf_attr *", Kind::Pointer(Pointee::Union("bpf_attr".to_owned()))),
        ("no_such_t", "no_such_t", Kind::Other),
    ] {
        assert_eq!(types.parse_ctype(text), CType { text: written.to_owned(), kind }, "{text}");
    }
}

#[test]
fn enumerations_have_values() {
    for kernel in KERNELS {
        let types = KernelTypes::new(stored(kernel)).unwrap();
        assert_eq!(types.enum_constant("kernel_read_file_id", "READING_MODULE"), Some(2), "{kernel}");
        assert_eq!(types.enum_constant("kernel_read_file_id", "READING_NONSENSE"), None);
        assert_eq!(types.enum_constant("no_such_enum", "READING_MODULE"), None);
        let anonymous: Vec<_> = types.anonymous_constants().collect();
        assert!(anonymous.contains(&("TCP_ESTABLISHED", 1)));
        assert!(anonymous.contains(&("IPPROTO_TCP", 6)));
    }
}

/// Writes BTF by hand.
#[derive(Default)]
struct Bytes {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Bytes that later versions of the format may put behind the header.
    extra: usize,
}

impl Bytes {
    fn string(&mut self, text: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        let at = self.strings.len();
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at.try_into().unwrap()
    }

    fn add(&mut self, name: &str, kind: u32, vlen: u32, size_or_type: u32, words: &[u32]) {
        let name = if name.is_empty() { 0 } else { self.string(name) };
        for word in [name, kind << 24 | vlen, size_or_type].iter().chain(words) {
            self.types.extend_from_slice(&word.to_le_bytes());
        }
    }

    fn finish(self) -> Vec<u8> {
        let (types, strings) =
            (u32::try_from(self.types.len()).unwrap(), u32::try_from(self.strings.len()).unwrap());
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24 + u32::try_from(self.extra).unwrap(), 0, types, types, strings] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend(std::iter::repeat_n(0xff, self.extra));
        [bytes, self.types, self.strings].concat()
    }
}

#[test]
fn a_longer_header_and_wider_fields_are_read() {
    let mut bytes = Bytes { extra: 8, ..Bytes::default() };
    bytes.add("int", 1, 0, 4, &[1 << 24 | 32]);
    let name = bytes.string("value");
    // More members than the 16 bits of versions before 7.1 can count.
    let members: Vec<u32> =
        (0..70_000).flat_map(|i| [if i == 69_999 { name } else { 0 }, 1, i * 32]).collect();
    bytes.add("wide", 4, 70_000, 280_000, &members);
    let types = KernelTypes::new(bytes.finish()).unwrap();
    assert_eq!(types.size_of("wide"), Some(280_000));
    // Beyond the limit of the search.
    assert_eq!(types.offset_of("wide", "value"), None);
}

#[test]
fn types_in_circles_come_to_an_end() {
    let mut bytes = Bytes::default();
    // 1: typedef of itself, 2: pointer to itself, 3: a structure that holds itself twice without a name.
    bytes.add("circle", 8, 0, 1, &[]);
    bytes.add("", 2, 0, 2, &[]);
    bytes.add("nested", 4, 2, 8, &[0, 3, 0, 0, 3, 0]);
    // 4, 5: a function that takes itself, and returns itself twice.
    bytes.add("", 13, 2, 4, &[0, 4, 0, 4]);
    bytes.add("function", 12, 0, 4, &[]);
    let types = KernelTypes::new(bytes.finish()).unwrap();
    assert_eq!(types.size_of("circle"), None);
    assert_eq!(types.offset_of("nested", "x"), None);
    assert!(types.function("function").unwrap().ret.text.len() < 1 << 20);
    assert_eq!(types.ctype(2).kind, Kind::Pointer(Pointee::Other));
}

#[test]
fn functions_of_one_name_and_different_types_have_no_prototype() {
    let mut bytes = Bytes::default();
    bytes.add("int", 1, 0, 4, &[1 << 24 | 32]);
    bytes.add("", 13, 0, 0, &[]);
    bytes.add("", 13, 0, 1, &[]);
    for (name, proto) in [("same", 2), ("same", 2), ("other", 2), ("other", 3)] {
        bytes.add(name, 12, 0, proto, &[]);
    }
    let types = KernelTypes::new(bytes.finish()).unwrap();
    assert!(types.function("same").is_some());
    assert!(types.function("other").is_none());
}

#[test]
fn what_is_no_btf_is_said() {
    let error = |bytes: Vec<u8>| KernelTypes::new(bytes).unwrap_err();
    assert_eq!(error(Vec::new()), BtfError::NoMagic);
    assert_eq!(error(b"\x7fELF".to_vec()), BtfError::NoMagic);
    assert_eq!(error(vec![0xeb, 0x9f, 0, 0]), BtfError::BigEndian);
    assert_eq!(error(vec![0x9f, 0xeb, 1, 0]), BtfError::Truncated);
    assert_eq!(error(vec![0x9f, 0xeb, 1, 0, 8, 0, 0, 0]), BtfError::Header(8));
    let mut unknown = Bytes::default();
    unknown.add("", 77, 0, 0, &[]);
    assert_eq!(error(unknown.finish()), BtfError::UnknownKind { id: 1, kind: 77 });
    let mut cut = Bytes::default();
    cut.add("", 4, 3, 0, &[0, 0, 0]);
    assert_eq!(error(cut.finish()), BtfError::Truncated);
    let whole = stored("5.10");
    assert_eq!(error(whole[..whole.len() / 2].to_vec()), BtfError::Truncated);
}

/// Calls every query.
fn exercise(bytes: Vec<u8>) {
    let Ok(types) = KernelTypes::new(bytes) else { return };
    let names: Vec<String> = types.functions().map(str::to_owned).collect();
    for name in names.iter().take(50) {
        let _ = types.function(name);
    }
    for name in ["a", "b", "c", "task_struct"] {
        let _ = (
            types.offset_of(name, "a.b"),
            types.member(name, "c"),
            types.enum_constants(name),
            types.size_of(name),
        );
    }
    for id in 0..=types.blob.last_id().min(50) {
        let _ = types.ctype(id);
    }
    let _ = (layout(&types), types.anonymous_constants().count(), types.parse_ctype("struct a *"));
}

proptest! {
    #[test]
    fn random_types_do_no_harm(
        types in prop::collection::vec(
            (0..20_u32, 0..5_u32, 0..12_u32, any::<bool>(), prop::collection::vec(0..12_u32, 0..15), 0..4_usize),
            1..20,
        ),
        extra in 0..3_usize,
    ) {
        let mut bytes = Bytes { extra: 4 * extra, ..Bytes::default() };
        for (kind, vlen, size_or_type, flag, words, name) in types {
            let name = ["", "a", "b", "c"][name];
            bytes.add(name, kind | u32::from(flag) << 7, vlen, size_or_type, &words);
        }
        exercise(bytes.finish());
    }

    #[test]
    fn random_bytes_do_no_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..400), magic: bool) {
        if magic && bytes.len() > 24 {
            bytes[..8].copy_from_slice(&[0x9f, 0xeb, 1, 0, 24, 0, 0, 0]);
            bytes[8..12].fill(0);
        }
        exercise(bytes);
    }
}
