//! What a hooked call costs: instructions per call, beside the same call unhooked and with empty programs.

use std::{
    fs::{self, File},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use crate::{calls, kernel::Kernel, programs::Empty};

/// Calls in one measurement.
const CALLS: u64 = 20_000;
/// Measurements of which the least is taken: an interrupt can only add.
const ROUNDS: usize = 3;

/// The first line of each call: what it costs as a whole. All other lines say what comes on top.
const UNHOOKED: &str = "unhooked: the whole call";

/// One line of the table.
struct Line {
    call: &'static str,
    program: String,
    added: f64,
    budget: Option<f64>,
}

/// Measures and prints.
pub fn run(json: bool) {
    let mut lines = Vec::new();
    integer(&mut lines);
    file(&mut lines);
    print(&lines, json);
}

/// Processor time of this thread per call, in nanoseconds: instructions, under icount.
#[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn measure(call: &dyn Fn(u64)) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    call(CALLS / 10);
    (0..ROUNDS)
        .map(|_| {
            let begun = now();
            call(CALLS);
            now().saturating_sub(begun).as_nanos() as f64 / CALLS as f64
        })
        .fold(f64::INFINITY, f64::min)
}

/// A policy on `__sys_setgid` for an id.
fn setgid_policy(name: &str, id: u32, pods: bool) -> String {
    let selector = if pods { "  podSelector:\n    matchLabels: {never: matches}\n" } else { "" };
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n{selector}  kprobes:\n  \
         - call: __sys_setgid\n    syscall: false\n    args: [{{index: 0, type: uint32}}]\n    selectors:\n    - \
         matchArgs: [{{index: 0, operator: Equal, values: [\"{id}\"]}}]\n---\n"
    )
}

fn integer(lines: &mut Vec<Line>) {
    const CALL: &str = "setgid";
    let matching = |times| calls::setgid(0, times);
    let base = measure(&matching);
    lines.push(Line { call: CALL, program: UNHOOKED.to_owned(), added: base, budget: None });
    let mut add = |program: &str, call: &dyn Fn(u64), budget| {
        let added = measure(call) - base;
        lines.push(Line { call: CALL, program: program.to_owned(), added, budget });
    };
    {
        let _kprobe = Empty::kprobe("__sys_setgid");
        add("empty kprobe", &matching, None);
    }
    if let Some(_fentry) = Empty::fentry("__sys_setgid") {
        add("empty fentry", &matching, None);
    }
    for policies in [1_u32, 10, 100] {
        let mut kernel = Kernel::load();
        // One policy wants the id that is called with, the others ids of their own.
        let text: String = (0..policies).map(|i| setgid_policy(&format!("p{i}"), i, false)).collect();
        let plans = kernel.compile(&text);
        assert!(kernel.apply(plans).is_empty(), "all policies load");
        add(&format!("{policies} policies, one matches"), &matching, Some(500.0));
        assert_eq!(kernel.counts()["p0"], calls_made(), "every call is counted");
        add(&format!("{policies} policies, none matches"), &|times| calls::setgid(5_000, times), Some(300.0));
    }
    calls::setgid(0, 1);
    // All policies want pods, and this process is the host's.
    let mut kernel = Kernel::load();
    let plans = kernel.compile(&setgid_policy("pods", 0, true));
    assert!(kernel.apply(plans).is_empty(), "the policy loads");
    add("no policy selects the cgroup", &matching, Some(150.0));
    assert_eq!(kernel.counts().get("pods").copied().unwrap_or(0), 0, "nothing is counted");
}

/// How many calls one [`measure`] makes.
const fn calls_made() -> u64 {
    CALLS / 10 + CALLS * ROUNDS as u64
}

fn file(lines: &mut Vec<Line>) {
    const CALL: &str = "pread";
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all("/etc/gatewatch-bench/a/b").expect("a folder in /etc");
    fs::write("/etc/gatewatch-bench/a/b/inside", "x").expect("a file");
    fs::write(folder.path().join("outside"), "x").expect("a file");
    let inside = File::open("/etc/gatewatch-bench/a/b/inside").expect("a file");
    let outside = File::open(folder.path().join("outside")).expect("a file");
    let (in_call, out_call) = (|times| calls::pread(&inside, times), |times| calls::pread(&outside, times));
    let (base_in, base_out) = (measure(&in_call), measure(&out_call));
    lines.push(Line { call: CALL, program: UNHOOKED.to_owned(), added: base_in, budget: None });
    let mut add = |program: &str, added: f64, budget| {
        lines.push(Line { call: CALL, program: program.to_owned(), added, budget });
    };
    {
        let _kprobe = Empty::kprobe("security_file_permission");
        add("empty kprobe", measure(&in_call) - base_in, None);
    }
    if let Some(_fentry) = Empty::fentry("security_file_permission") {
        add("empty fentry", measure(&in_call) - base_in, None);
    }
    let text = fs::read_to_string("/policies/application/application-file-system-access.yaml")
        .expect("the shipped policy")
        // For the host's processes too: this is one.
        .replace("  podSelector:\n    matchLabels:\n      org: \"empire\"\n", "");
    for fentry in [true, false] {
        let mut kernel = Kernel::load_with(fentry);
        let plans = kernel.compile(&text);
        assert!(kernel.apply(plans).is_empty(), "the policy loads");
        let by = if fentry { "fentry" } else { "kprobe" };
        add(&format!("file policy by {by}, match"), measure(&in_call) - base_in, fentry.then_some(1_400.0));
        assert_eq!(kernel.counts()["application-file-system-access"], calls_made(), "every call is counted");
        add(
            &format!("file policy by {by}, no match"),
            measure(&out_call) - base_out,
            fentry.then_some(1_000.0),
        );
    }
    let _ = fs::remove_dir_all("/etc/gatewatch-bench");
}

#[allow(clippy::print_stdout, reason = "this is what a bench is for")]
fn print(lines: &[Line], json: bool) {
    if !json {
        println!(
            "{:<8} {:<34} {:>12} {:>16} {:>8}",
            "call", "program", "instructions", "× empty kprobe", "budget"
        );
    }
    for line in lines {
        let floor = lines
            .iter()
            .find(|floor| floor.call == line.call && floor.program == "empty kprobe")
            .map_or(f64::NAN, |floor| floor.added);
        let ratio = line.added / floor;
        if json {
            println!(
                "{{\"bench\":\"event\",\"call\":\"{}\",\"program\":\"{}\",\"instructions\":{:.1},\"empty_kprobes\":{ratio:.2},\
                 \"budget\":{}}}",
                line.call,
                line.program,
                line.added,
                line.budget.map_or("null".to_owned(), |budget| budget.to_string())
            );
        } else {
            let budget = line.budget.map_or_else(String::new, |budget| budget.to_string());
            println!("{:<8} {:<34} {:>12.0} {ratio:>16.2} {budget:>8}", line.call, line.program, line.added);
        }
    }
}
