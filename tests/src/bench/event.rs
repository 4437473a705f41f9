//! What a hooked call costs: instructions per call of `pread`, beside the same call unhooked and with empty programs.

use std::{
    fs::{self, File},
    io::Write as _,
    time::Duration,
};

use gatewatch_agent::enforcement::Restrictions;
use gatewatch_policy::plan::Plan;
use rustix::time::{ClockId, clock_gettime};

use super::table::{Line, Table};
use crate::{
    calls,
    kernel::{Kernel, Way},
    programs::Empty,
};

/// Calls in one measurement: few, so that some measurements are without what the kernel does now and then.
const CALLS: u64 = 2_000;
/// Measurements of which the least is taken: what comes in between can only add.
const ROUNDS: usize = 20;
/// Calls before them, so that nothing is done for the first time.
const WARM: u64 = 2_000;

/// Measures calls of an integer function and of a file function.
pub(super) fn measure(table: &mut Table) {
    integer(table);
    file(table);
}

/// Processor time of this thread per call, in nanoseconds: instructions, under icount.
#[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn cost(call: &dyn Fn(u64)) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    call(WARM);
    (0..ROUNDS)
        .map(|_| {
            let begun = now();
            call(CALLS);
            now().saturating_sub(begun).as_nanos() as f64 / CALLS as f64
        })
        .fold(f64::INFINITY, f64::min)
}

/// How many calls one [`cost`] makes.
const fn calls_made() -> u64 {
    WARM + CALLS * ROUNDS as u64
}

/// What is measured may take so many instructions.
struct Budgets {
    /// The way of attaching that it is for: the one that this kernel is attached to by.
    way: Way,
    matches: f64,
    one_of_ten_matches: f64,
    none_matches: f64,
    /// With so many selectors that a row has more words than two.
    none_of_many_matches: f64,
    unwatched: f64,
    /// What an unwatched event is to cost in the end.
    unwatched_goal: f64,
    path_matches: f64,
    no_path_matches: f64,
}

impl Budgets {
    fn of_this_kernel() -> Self {
        let way = Way::of_this_kernel();
        match way {
            Way::Trampolines => Self {
                way,
                matches: 345.0,
                one_of_ten_matches: 400.0,
                none_matches: 300.0,
                none_of_many_matches: 300.0,
                unwatched: 165.0,
                unwatched_goal: 150.0,
                path_matches: 1_400.0,
                no_path_matches: 1_000.0,
            },
            Way::Fprobes | Way::Probes => Self {
                way,
                matches: 450.0,
                one_of_ten_matches: 495.0,
                none_matches: 335.0,
                none_of_many_matches: 350.0,
                unwatched: 270.0,
                unwatched_goal: 200.0,
                path_matches: 2_500.0,
                no_path_matches: 2_000.0,
            },
        }
    }
}

/// What programs on one function add to a call, beside an empty kprobe.
struct Added<'a> {
    table: &'a mut Table,
    /// The subject of the measurement.
    call: &'static str,
    /// The call without any: what is measured next is beside that.
    unhooked: f64,
    /// What an empty kprobe adds.
    floor: Option<f64>,
}

impl<'a> Added<'a> {
    fn to(table: &'a mut Table, call: &'static str, made: &dyn Fn(u64)) -> Self {
        let unhooked = cost(made);
        table.add(&Line::new(format!("{call}: the whole call, unhooked"), unhooked, UNIT));
        Self { table, call, unhooked, floor: None }
    }

    /// With empty programs on the function: what the one that is attached as ours are adds.
    fn by_empty(&mut self, function: &'static str, made: &dyn Fn(u64)) -> f64 {
        let kprobe = Empty::kprobe(function);
        let mut ours = self.by("empty kprobe", made, None);
        drop(kprobe);
        self.floor = Some(ours);
        for way in Way::all() {
            let program = match way {
                Way::Trampolines => Empty::fentry(function),
                Way::Fprobes => Some(Empty::fprobe(function)),
                Way::Probes => None,
            };
            let Some(_program) = program else { continue };
            let added = self.by(&format!("empty {}", way.name()), made, None);
            if way == Way::of_this_kernel() {
                ours = added;
            }
        }
        ours
    }

    fn by(&mut self, program: &str, made: &dyn Fn(u64), budget: Option<f64>) -> f64 {
        let (added, line) = self.line(program, made);
        self.table.add(&if let Some(budget) = budget { line.budget(budget, NOISE) } else { line });
        added
    }

    /// A goal that isn't reached yet, and what is to be kept.
    fn aims_at(&mut self, program: &str, made: &dyn Fn(u64), goal: f64, budget: f64) -> f64 {
        let (added, line) = self.line(program, made);
        self.table.add(&line.goal(goal).budget(budget, NOISE));
        added
    }

    fn line(&self, program: &str, made: &dyn Fn(u64)) -> (f64, Line) {
        let added = cost(made) - self.unhooked;
        let line = Line::new(format!("{}: {program}", self.call), added, UNIT);
        (added, if let Some(floor) = self.floor { line.floor(floor) } else { line })
    }
}

const UNIT: &str = "instructions";
/// Runs differ by some instructions.
const NOISE: f64 = 0.02;

/// The function that is hooked: security modules are asked by it before each read, with the file and with what is to be
/// done to it, a mask. Reading an open file allocates nothing and frees nothing, so each call takes as long as the others.
const FUNCTION: &str = "security_file_permission";
/// `MAY_READ`, include/linux/fs.h: the mask of a read.
const READ: u32 = 4;

/// A policy that wants this mask.
fn mask_policy(name: &str, mask: u32, pods: bool) -> String {
    let selector = if pods { "  podSelector:\n    matchLabels: {never: matches}\n" } else { "" };
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n{selector}  kprobes:\n  \
         - call: {FUNCTION}\n    syscall: false\n    args: [{{index: 1, type: int}}]\n    selectors:\n    - \
         matchArgs: [{{index: 1, operator: Equal, values: [\"{mask}\"]}}]\n---\n"
    )
}

fn integer(table: &mut Table) {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(b"x").expect("a byte");
    let read = |times| calls::pread(&file, times);
    let mut added = Added::to(table, "integer", &read);
    let budgets = Budgets::of_this_kernel();
    let empty = added.by_empty(FUNCTION, &read);
    let mut matched = Vec::new();
    for policies in [1_u32, 10, 100, 1_000] {
        let count = if policies == 1 { "1 policy".to_owned() } else { format!("{policies} policies") };
        for matches in [true, false] {
            let mut kernel = Kernel::load();
            // One policy wants what is done, or none; the others want something else each.
            let masks = (0..policies).map(|i| if i == 0 && matches { READ } else { READ + 1 + i });
            let text: String = masks.map(|mask| mask_policy(&format!("p{mask}"), mask, false)).collect();
            let plans = kernel.compile(&text);
            assert!(kernel.apply(plans).is_empty(), "all policies load");
            if matches {
                let counted =
                    |kernel: &mut Kernel| kernel.counts().get(&format!("p{READ}")).copied().unwrap_or(0);
                let before = counted(&mut kernel);
                // Of more policies the budget is a ratio, see below.
                let budget = match policies {
                    1 => Some(budgets.matches),
                    10 => Some(budgets.one_of_ten_matches),
                    _ => None,
                };
                matched.push(added.by(&format!("{count}, one matches"), &read, budget));
                // Whoever else reads is counted, too: the machine's few other programs.
                let more = counted(&mut kernel) - before;
                assert!((calls_made()..calls_made() + 100).contains(&more), "{more} of {}", calls_made());
            } else {
                let budget = if policies > 100 { budgets.none_of_many_matches } else { budgets.none_matches };
                added.by(&format!("{count}, none matches"), &read, Some(budget));
            }
        }
    }
    if let [one, ..] = matched[..] {
        enforcing(&mut added, &read, one);
    }
    // All policies want pods, and this process is the host's.
    let mut kernel = Kernel::load();
    let plans = kernel.compile(&mask_policy("pods", READ, true));
    assert!(kernel.apply(plans).is_empty(), "the policy loads");
    let (goal, budget) = (budgets.unwatched_goal, budgets.unwatched);
    let unwatched = added.aims_at("no policy selects the cgroup", &read, goal, budget);
    assert_eq!(kernel.counts().get("pods").copied().unwrap_or(0), 0, "nothing is counted");
    let line = Line::new(
        format!("integer: no policy beside an empty {}", budgets.way.name()),
        unwatched / empty,
        "times",
    );
    table.add(&line.budget(1.3, NOISE));
    if let [one, _, hundred, _] = matched[..] {
        let line = Line::new("integer: 100 policies beside one", hundred / one, "times");
        table.add(&line.budget(1.2, NOISE));
    }
}

/// What a selector's action costs beyond the count, all but the sending of the signal: the measuring process would end.
fn enforcing(added: &mut Added<'_>, read: &dyn Fn(u64), count: f64) {
    let mut kernel = Kernel::load();
    kernel.engine.restrict(Restrictions::default()).expect("the switch is written");
    let policy = mask_policy("kills", READ, false)
        .replace("spec:\n", "spec:\n  options: [{name: policy-mode, value: monitor}]\n")
        .replace("values: [\"4\"]}]\n", "values: [\"4\"]}]\n      matchActions: [{action: Sigkill}]\n");
    let plans = kernel.compile(&policy);
    assert!(plans.iter().all(Plan::enforces) && kernel.apply(plans).is_empty(), "the policy loads");
    // This process is the agent, which would be spared.
    kernel.engine.bpf_mut().spare_no_agent().expect("processes are written");
    let whole = added.by("1 policy that kills, in monitor mode, matches", read, None);
    let line = Line::new("integer: an action beyond the count".to_owned(), whole - count, UNIT);
    // Deciding and counting an outcome, and the larger matcher that can.
    added.table.add(&line.goal(60.0).budget(240.0, NOISE));
}

fn file(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all("/etc/gatewatch-bench/a/b").expect("a folder in /etc");
    fs::write("/etc/gatewatch-bench/a/b/inside", "x").expect("a file");
    fs::write(folder.path().join("outside"), "x").expect("a file");
    let inside = File::open("/etc/gatewatch-bench/a/b/inside").expect("a file");
    let outside = File::open(folder.path().join("outside")).expect("a file");
    let (in_call, out_call) = (|times| calls::pread(&inside, times), |times| calls::pread(&outside, times));
    let mut added = Added::to(table, "path", &in_call);
    added.by_empty(FUNCTION, &in_call);
    let (unhooked_in, unhooked_out) = (added.unhooked, cost(&out_call));
    let text = fs::read_to_string("/policies/application/application-file-system-access.yaml")
        .expect("the shipped policy")
        // For the host's processes too: this is one.
        .replace("  podSelector:\n    matchLabels:\n      org: \"empire\"\n", "");
    let budgets = Budgets::of_this_kernel();
    for way in Way::all() {
        let mut kernel = Kernel::load_with(way);
        let plans = kernel.compile(&text);
        assert!(kernel.apply(plans).is_empty(), "the policy loads");
        let by = way.name();
        let budget = |budget| (way == budgets.way).then_some(budget);
        added.unhooked = unhooked_in;
        added.by(&format!("file policy by {by}, match"), &in_call, budget(budgets.path_matches));
        assert_eq!(kernel.counts()["application-file-system-access"], calls_made(), "every call is counted");
        added.unhooked = unhooked_out;
        added.by(&format!("file policy by {by}, no match"), &out_call, budget(budgets.no_path_matches));
    }
    let _ = fs::remove_dir_all("/etc/gatewatch-bench");
}
