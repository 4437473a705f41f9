//! Profiles of four kernels, made and saved, and files that are none.

use proptest::prelude::*;

use super::{wire::Writer, *};
use crate::{
    KernelTypes, Kind, Pointee,
    btf::tests::{KERNELS, stored},
};

fn shipped(name: &str) -> Profile {
    Profile::shipped(name).unwrap()
}

#[test]
fn every_shipped_profile_is_read() {
    for name in Profile::shipped_names() {
        let profile = shipped(name);
        assert!(profile.release.starts_with(name), "{name}: {}", profile.release);
        assert_eq!(profile.arch, Arch::Amd64);
        assert!(profile.version.contains("SMP"));
        assert!(profile.functions().count() > 30_000);
        assert_eq!(profile.layout().unwrap(), layout(&KernelTypes::new(stored(name)).unwrap()).unwrap());
    }
    assert!(Profile::shipped("4.19").is_none());
}

/// An earlier version did not save the fields that it did not read.
#[test]
fn a_profile_of_an_earlier_version_is_read() {
    let mut earlier = shipped("6.12");
    let Types::Saved(saved) = &mut earlier.types else { panic!("a saved profile") };
    saved.fields.retain(|(name, _)| &**name != "socket.sk");
    let layout = Profile::from_bytes(&earlier.to_bytes_at(1).unwrap()).unwrap().layout().unwrap();
    assert_eq!(layout.socket_sk, Layout::ABSENT);
    assert_eq!(Layout { socket_sk: 24, ..layout }, shipped("6.12").layout().unwrap());
}

#[test]
fn a_saved_profile_answers_as_a_live_one() {
    for kernel in KERNELS {
        let live = Profile::from_parts(&Parts::new("x", Arch::Amd64, &stored(kernel))).unwrap();
        let saved = Profile::from_bytes(&live.to_bytes_at(1).unwrap()).unwrap();
        for name in live.functions() {
            assert_eq!(live.function(name), saved.function(name));
        }
        assert!(saved.functions().eq(live.functions()));
        for name in ENUMS.iter().chain(&[""]) {
            assert_eq!(live.enum_constants(name), saved.enum_constants(name), "{name}");
        }
        assert_eq!(live.layout(), saved.layout());
        assert_eq!(live.hash(), saved.hash());
        assert_eq!(live.syscall("sys_fork"), saved.syscall("sys_fork"));
    }
}

/// The `format` file of a tracepoint with one field of its own.
fn format(field: &str) -> String {
    let common = [
        "unsigned short common_type",
        "unsigned char common_flags",
        "unsigned char common_preempt_count",
        "int common_pid",
    ];
    let line = |(number, field): (usize, &str)| {
        format!("\tfield:{field};\toffset:{};\tsize:4;\tsigned:1;\n", 4 * number)
    };
    common.into_iter().chain([field]).enumerate().map(line).collect()
}

#[test]
fn tracepoints_are_saved_and_files_without_them_are_read() {
    let read: ReadFormat =
        std::sync::Arc::new(|name| (name != "sched/gone").then(|| format(&format!("int of_{}", name.len()))));
    let btf = stored("6.12");
    let parts = Parts::new("x", Arch::Amd64, &btf)
        .events("sched:sched_switch\nsched:gone\nsyscalls:sys_enter_dup\nmodule:only_here\n", &read);
    let live = Profile::from_parts(&parts).unwrap();
    let saved = Profile::from_bytes(&live.to_bytes_at(1).unwrap()).unwrap();
    for profile in [&live, &saved] {
        assert!(profile.knows_tracepoints());
        let fields = profile.tracepoint("sched", "sched_switch").unwrap();
        assert_eq!(fields.len(), COMMON_FIELDS + 1);
        assert_eq!((fields[4].name.as_str(), fields[4].offset, fields[4].signed), ("of_18", 16, true));
        assert!(profile.tracepoint("syscalls", "sys_enter_dup").is_some());
        assert_eq!(profile.tracepoint("sched", "gone"), None);
        assert_eq!(profile.tracepoint("sched", "other"), None);
        let switch = profile.raw_tracepoint("sched_switch").unwrap();
        let types: Vec<&str> = switch.iter().map(|param| param.ty.text.as_str()).collect();
        assert_eq!(types[..3], ["bool", "struct task_struct *", "struct task_struct *"]);
        assert_eq!(profile.raw_tracepoint("sched_other"), None);
    }
    assert!(live.tracepoint("module", "only_here").is_some());
    assert_eq!(
        saved.tracepoints(),
        ["sched/sched_switch", "syscalls/sys_enter_dup"],
        "modules differ between nodes"
    );
    assert_eq!(live.hash(), saved.hash());

    let without = Profile::from_parts(&Parts::new("x", Arch::Amd64, &btf)).unwrap();
    let body = without.body();
    let first = Profile::from_bytes(
        &[b"GWPROFIL\x01".to_vec(), zstd::bulk::compress(&body[..body.len() - 3], 1).unwrap()].concat(),
    );
    let first = first.unwrap();
    assert!(!first.knows_tracepoints() && first.tracepoint("sched", "sched_switch").is_none());
    assert_eq!(first.hash(), without.hash());
}

#[test]
fn functions_that_policies_hook() {
    for name in KERNELS {
        let profile = shipped(name);
        for expected in [
            "int security_file_permission(struct file *file, int mask)",
            "int create_user_ns(struct cred *new)",
            "int tcp_connect(struct sock *sk)",
            "long __sys_setuid(uid_t uid)",
            "int do_init_module(struct module *mod)",
        ] {
            let symbol = expected.split_once('(').unwrap().0.rsplit(' ').next().unwrap();
            let function = profile.function(symbol).unwrap();
            assert_eq!(function.to_string(), expected);
            assert_eq!(function.attachable, Attach::Yes, "{symbol} on {name}");
            assert_eq!(function.overridable, Some(false), "Debian builds without error injection");
        }
        assert!(profile.function("security_kernel_module_from_file").is_none());
        assert_eq!(profile.has_function("security_file_truncate"), matches!(name, "6.12" | "7.3"));
        assert_eq!(profile.has_function("security_create_user_ns"), name != "5.10");
        // Discarded after boot, but still in /proc/kallsyms.
        assert!(profile.function("start_kernel").is_none(), "{name}");
    }
}

#[test]
fn functions_that_cannot_be_probed_say_why() {
    let profile = shipped("6.12");
    let obstacle = |name: &str| {
        let function = profile.function(name).unwrap();
        assert_eq!(function.attachable, Attach::No, "{name}");
        function.obstacle.unwrap()
    };
    assert_eq!(obstacle("asm_exc_page_fault"), Obstacle::Blacklisted);
    assert_eq!(obstacle("__switch_to_asm"), Obstacle::NotTraceable);
    assert!(matches!(obstacle("c_start"), Obstacle::Ambiguous { symbols: 2.. }));
    let symbol = "__intel_pmu_enable_all.isra.0".to_owned();
    assert_eq!(obstacle("__intel_pmu_enable_all"), Obstacle::Clone { symbol });
    let part = profile.function("intel_pmu_hw_config.part.0").unwrap();
    assert_eq!((part.attachable, part.params), (Attach::Yes, None));
    assert_eq!(
        profile.function("intel_pmu_hw_config.part.0").unwrap().to_string(),
        "intel_pmu_hw_config.part.0(…)"
    );
    assert!(profile.function("").is_none());
}

#[test]
fn system_calls_have_their_own_parameters() {
    for name in KERNELS {
        let profile = shipped(name);
        assert_eq!(profile.syscall_symbol("sys_execve"), "__x64_sys_execve");
        for expected in [
            "sys_execve(const char *filename, const char *const *argv, const char *const *envp)",
            "sys_openat(int dfd, const char *filename, int flags, umode_t mode)",
            "sys_setuid(uid_t uid)",
            "sys_fork(void)",
            "sys_mmap(unsigned long addr, unsigned long len, unsigned long prot, unsigned long flags, unsigned long fd, \
             unsigned long off)",
            "sys_ptrace(long request, long pid, unsigned long addr, unsigned long data)",
        ] {
            let call = profile.syscall(expected.split_once('(').unwrap().0).unwrap();
            assert_eq!(call.to_string(), expected, "{name}");
            assert_eq!(call.attachable, Attach::Yes);
            assert_eq!(profile.syscall(&call.symbol), Some(call));
        }
        let open = profile.syscall("sys_openat").unwrap().params.unwrap();
        assert_eq!(open[1].ty.kind, Kind::Pointer(Pointee::Char));
        assert_eq!(open[3].ty.kind, Kind::Int { bits: 16, signed: false });
        assert!(profile.syscall("sys_no_such").is_none());
        assert!(profile.syscall("security_file_open").is_none());
        assert_eq!(
            profile.has_function("__x64_sys_openat2"),
            profile.syscalls().any(|call| call == "sys_openat2")
        );
    }
}

#[test]
fn constants_have_values() {
    for name in KERNELS {
        let profile = shipped(name);
        assert_eq!(profile.enum_constant("kernel_read_file_id", "READING_MODULE"), Some(2));
        assert_eq!(profile.constant("READING_MODULE"), Some(2));
        assert_eq!(profile.constant("BPF_PROG_LOAD"), Some(5));
        assert_eq!(profile.constant("TCP_ESTABLISHED"), Some(1));
        assert_eq!(profile.constant("IPPROTO_UDP"), Some(17));
        assert_eq!(profile.constant("READING_NONSENSE"), None);
        assert_eq!(profile.enum_constants("no_such_enum"), None);
    }
}

/// A kernel with one function of the kind that the lists say.
fn with_lists(
    symbols: Option<&str>,
    attachable: Option<&str>,
    blacklist: Option<&str>,
) -> Result<Profile, ProfileError> {
    Profile::from_parts(&Parts {
        symbols,
        attachable,
        blacklist,
        ..Parts::new("1", Arch::Amd64, &stored("5.10"))
    })
}

#[test]
fn what_the_lists_do_not_say_is_unknown() {
    let attach = |profile: &Profile, name: &str| profile.function(name).map(|function| function.attachable);
    let types_only = with_lists(None, None, None).unwrap();
    assert_eq!(attach(&types_only, "tcp_connect"), Some(Attach::Unknown));
    assert_eq!(types_only.function("tcp_connect").unwrap().overridable, None);

    let attachable = with_lists(None, Some("tcp_connect\nonly_here\nin_module [nf]\n"), None).unwrap();
    assert_eq!(attach(&attachable, "tcp_connect"), Some(Attach::Yes));
    assert_eq!(attach(&attachable, "only_here"), Some(Attach::Yes));
    assert_eq!(attach(&attachable, "tcp_close"), Some(Attach::Unknown), "perhaps under another name");
    assert_eq!(attach(&attachable, "in_module"), None);

    let symbols =
        with_lists(Some("0 T tcp_connect\n0 t twice\n0 t twice\n"), None, Some("0x0-0x0\ttwice\n")).unwrap();
    assert_eq!(attach(&symbols, "tcp_connect"), Some(Attach::Unknown));
    assert_eq!(attach(&symbols, "tcp_close"), None, "inlined everywhere");
    assert_eq!(symbols.function("twice").unwrap().obstacle, Some(Obstacle::Blacklisted));

    let both = "10 T __do_sys_fork\n10 T __x64_sys_fork\n20 T tcp_close\n30 T __fatal\n30 T alias_of_fatal\n";
    let both = with_lists(Some(both), Some("__do_sys_fork\n"), Some("0x30-0x40\t__fatal\n")).unwrap();
    assert_eq!(attach(&both, "__x64_sys_fork"), Some(Attach::Yes), "another name of one that is listed");
    assert_eq!(both.function("tcp_close").unwrap().obstacle, Some(Obstacle::NotTraceable));
    assert_eq!(both.function("alias_of_fatal").unwrap().obstacle, Some(Obstacle::Blacklisted));

    assert_eq!(with_lists(Some("no symbols"), None, None).unwrap_err(), ProfileError::NoSymbols);
    let error = Profile::from_parts(&Parts::new("1", Arch::Amd64, b"no types")).unwrap_err();
    assert!(error.to_string().contains("not BTF"), "{error}");
}

#[test]
fn arguments_are_in_registers() {
    let ty = |kind| crate::CType { text: String::new(), kind };
    let int = || ty(Kind::Int { bits: 32, signed: true });
    let structure = |size| ty(Kind::Struct { name: String::new(), size });
    let registers = |types: Vec<crate::CType>, arch| {
        let params = types.into_iter().map(|ty| crate::Param { name: String::new(), ty }).collect();
        let mut function = shipped("6.12").function("tcp_connect").unwrap();
        function.params = Some(params);
        function.registers(arch).unwrap()
    };
    let seven = || (0..7).map(|_| int()).collect::<Vec<_>>();
    assert_eq!(registers(seven(), Arch::Amd64)[5..], [Some(5), None]);
    assert_eq!(registers(seven(), Arch::Arm64)[5..], [Some(5), Some(6)]);
    let by_value = || vec![structure(16), structure(24), int()];
    assert_eq!(registers(by_value(), Arch::Amd64), [Some(0), None, Some(2)]);
    assert_eq!(registers(by_value(), Arch::Arm64), [Some(0), None, Some(3)]);
}

#[test]
fn files_that_are_no_profile_are_refused() {
    let error = |bytes: &[u8]| Profile::from_bytes(bytes).unwrap_err();
    assert_eq!(error(b""), FormatError::NotAProfile);
    assert_eq!(error(b"apiVersion: v1"), FormatError::NotAProfile);
    assert_eq!(error(b"GWPROFIL"), FormatError::NotAProfile);
    assert_eq!(error(b"GWPROFIL\xff"), FormatError::Version(255));
    assert_eq!(error(b"GWPROFIL\x01rest"), FormatError::Damaged);
    let whole = shipped("5.10").to_bytes_at(1).unwrap();
    assert_eq!(error(&whole[..whole.len() / 2]), FormatError::Damaged);
    assert_eq!(error(&packed(&vec![0; 17 << 20])), FormatError::TooLarge);
    // Says that sixteen million types follow.
    let mut bomb = Writer::default();
    for text in ["", "", "amd64"] {
        bomb.text(text);
    }
    bomb.number(15 << 20);
    bomb.0.resize(15 << 20, 0);
    assert_eq!(error(&packed(&bomb.0)), FormatError::TooLarge);
}

fn packed(body: &[u8]) -> Vec<u8> {
    [b"GWPROFIL\x02".to_vec(), zstd::bulk::compress(body, 1).unwrap()].concat()
}

/// The contents of a profile of a few functions.
fn small() -> Vec<u8> {
    let symbols = "0 T tcp_connect\n0 T __x64_sys_execve\n0 T security_file_permission\n0 t kzalloc.isra.0\n";
    let read: ReadFormat = std::sync::Arc::new(|_| Some(format("int of_its_own")));
    let btf = stored("5.10");
    let parts = Parts::new("1", Arch::Amd64, &btf).events("syscalls:sys_enter_dup\n", &read);
    Profile::from_parts(&Parts { symbols: Some(symbols), attachable: Some("tcp_connect\n"), ..parts })
        .unwrap()
        .body()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn damaged_profiles_are_refused_or_answer(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        thread_local! { static BODY: Vec<u8> = small(); }
        let mut body = BODY.with(Clone::clone);
        for (at, value) in changes {
            let at = at.index(body.len());
            body[at] = value;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        if let Ok(profile) = Profile::from_bytes(&packed(&body)) {
            for name in profile.functions() {
                prop_assert!(profile.function(name).is_some());
            }
            for name in profile.tracepoints() {
                if let Some((subsystem, event)) = name.split_once('/') {
                    prop_assert!(profile.tracepoint(subsystem, event).is_some());
                }
            }
            let _ = (profile.layout(), profile.syscall("sys_execve"), profile.constant("READING_MODULE"));
            let _ = profile.hash();
        }
    }
}
