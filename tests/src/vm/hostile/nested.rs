//! Programs that are interrupted in the middle of a string filter: fexit's on preemptible kernels. Each needs a buffer of
//! its own, and gives it back.

use std::{collections::BTreeMap, fs, process::Command};

use rustix::thread::{CpuSet, sched_setaffinity};

use super::super::{CALLS, policy, this};
use crate::{
    calls,
    kernel::{Kernel, Way},
};

/// Files that the policies tell apart by their paths. The names have one length, so that a filter that reads another
/// task's buffer finds a whole path there.
const FILES: [&str; 2] = ["/etc/gatewatch-nested/first/file", "/etc/gatewatch-nested/other/file"];

/// Tasks that read one of the files: the kind of their calls, how many, and how many tasks for each file. The second kind
/// are real-time tasks, which interrupt the first.
const LOAD: [(&str, u64, u64); 2] = [("pread-yielding", 12_000, 2), ("pread-interrupting", 4_000, 2)];

/// Calls of each kind after that, on each processor.
const AFTERWARDS: u64 = 500;

/// Policies on the returns of two functions, each with a filter on the path: while tasks interrupt each other in the middle
/// of them, and after that, all paths are what they are.
pub(in crate::vm) fn filters_on_return() {
    for file in FILES {
        fs::create_dir_all(std::path::Path::new(file).parent().expect("a folder")).expect("folders");
        fs::write(file, "x").expect("a file");
    }
    let mut kernel = Kernel::load_with(Way::of_this_kernel());
    let functions = ["vfs_read", "security_file_permission"];
    let names = ["first", "other"];
    let mut text = String::new();
    for function in functions {
        for name in names {
            let hook = format!(
                "  - call: {function}\n    syscall: false\n    return: true\n    returnArg: {{index: 0, type: int}}\n    args: \
                 [{{index: 0, type: file}}]\n    selectors:\n    - matchArgs: [{{index: 0, operator: Prefix, \
                 values: [/etc/gatewatch-nested/{name}/]}}]\n      matchReturnArgs: [{{index: 0, operator: NotEqual, values: \
                 [\"-1\"]}}]"
            );
            text += &policy(&format!("{}-{name}", function.replace('_', "-")), &hook);
        }
    }
    let plans = kernel.compile(&text);
    let failed = kernel.apply(plans);
    assert!(failed.is_empty(), "{failed:#?}");
    let nested = |kernel: &Kernel| {
        let left_out = kernel.reader.usage().left_out;
        left_out.into_iter().find(|(what, _)| *what == "nested").map(|(_, times)| times)
    };
    let before = nested(&kernel);
    let mut workers = Vec::new();
    let mut made = 0;
    for (kind, times, tasks) in LOAD {
        for _ in 0..tasks {
            for file in FILES {
                let worker = Command::new(this()).args([CALLS, kind, &times.to_string(), file]).spawn();
                workers.push(worker.expect("a process that makes calls"));
            }
            made += times;
        }
    }
    for mut worker in workers {
        assert!(worker.wait().expect("an exit status").success());
    }
    let counts = kernel.counts();
    let mut missed: BTreeMap<String, u64> = BTreeMap::new();
    for (lane, times) in kernel.engine.view().missed() {
        *missed.entry(lane.point.symbol().unwrap_or_default().to_owned()).or_default() += times;
    }
    println!("of {made} calls for each file: {counts:?}, missed {missed:?}, nested {:?}", nested(&kernel));
    // What fexit misses is known, but not of which file. Whoever starts a program reads files, too.
    for function in functions {
        let of =
            |name: &str| counts.get(&format!("{}-{name}", function.replace('_', "-"))).copied().unwrap_or(0);
        let (first, other) = (of(names[0]), of(names[1]));
        assert!(first <= made && other <= made, "{function}: {first} and {other} of {made} each");
        assert!(
            first + other + missed[function] >= 2 * made,
            "{function}: {first} and {other} of {made} each, {missed:?} missed"
        );
    }
    assert_eq!(nested(&kernel), before, "buffers for all");
    // Nothing is left of the interruptions, on any processor.
    let processors = std::thread::available_parallelism().expect("a number").get();
    for processor in 0..processors {
        let read = move || {
            let mut alone = CpuSet::new();
            alone.set(processor);
            sched_setaffinity(None, &alone).expect("this thread moves");
            for file in FILES {
                calls::pread(&fs::File::open(file).expect("a file"), AFTERWARDS);
            }
        };
        std::thread::spawn(read).join().expect("the calls are made");
    }
    let after = kernel.counts();
    let expected = AFTERWARDS * u64::try_from(processors).expect("few");
    for (name, count) in after {
        assert_eq!(count - counts.get(&name).copied().unwrap_or(0), expected, "{name}");
    }
    assert_eq!(nested(&kernel), before, "buffers for all");
    let _ = fs::remove_dir_all("/etc/gatewatch-nested");
}
