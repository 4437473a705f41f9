//! Hooks on functions of user programs: what they count, exactly, on the host and in containers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode},
    thread::sleep,
    time::Duration,
};

use super::{CALLS, make, this};
use crate::{
    agent::{Agent, sum},
    calls::{counted, gatewatch_counted},
    pod::{self, Container},
};

const PLACES: &str = "gatewatch_uprobe_places";
const SYMBOL: &str = "gatewatch_counted";

/// A policy with one hook at a program.
fn on(name: &str, scope: &str, path: &Path, hook: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: {name}\nspec:\n{scope}  uprobes:\n  - path: \
         {}\n    {hook}\n---\n",
        path.display()
    )
}

/// How many containers hooks are attached in, or could not be.
fn in_state(agent: &Agent, state: &str) -> u64 {
    agent.sum(PLACES, &[("state", state)])
}

/// A policy, `counting`, that counts every call of a function in this program.
pub(super) fn counting(program: &Path) -> String {
    on("counting", "", program, &format!("symbols: [{SYMBOL}]"))
}

/// Waits until the one hook is attached in its one place, or can't be: then this is false.
pub(super) fn attaches(agent: &Agent) -> bool {
    let in_state = |text: &str, state| sum(text, PLACES, &[("state", state)]) == 1;
    let known = agent.wait(|text| in_state(text, "attached") || in_state(text, "failed"));
    assert!(known, "{}\n{}", agent.metrics(), agent.log());
    in_state(&agent.metrics(), "attached")
}

/// Waits until hooks are attached in so many places.
pub(super) fn wait_attached(agent: &Agent, places: u64) {
    let attached = |text: &str| sum(text, PLACES, &[("state", "attached")]) == places;
    assert!(agent.wait(attached), "{}\n{}", agent.metrics(), agent.log());
}

/// Where [`gatewatch_counted`] is in this program's file, and at which address the file says that it is loaded.
fn own_place() -> (u64, u64) {
    let address = gatewatch_counted as *const () as u64;
    let maps = fs::read_to_string("/proc/self/maps").expect("our own mappings");
    let number = |text: &str| u64::from_str_radix(text, 16).expect("a number");
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (from, to) = fields[0].split_once('-').expect("a range");
        if (number(from)..number(to)).contains(&address) {
            let offset = address - number(from) + number(fields[2]);
            return (offset, address_at(offset));
        }
    }
    panic!("no mapping has {address:#x}:\n{maps}");
}

/// The address of an offset by this program's headers (`Elf64_Ehdr` and `Elf64_Phdr`, include/uapi/linux/elf.h).
fn address_at(offset: u64) -> u64 {
    let bytes = fs::read(this()).expect("our own file");
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let short = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let (headers, each, count) = (usize::try_from(number(32)).expect("small"), short(54), short(56));
    for header in (0..count).map(|i| headers + i * each) {
        let (start, address, size) = (number(header + 8), number(header + 16), number(header + 32));
        // PT_LOAD
        if bytes[header] == 1 && (start..start + size).contains(&offset) {
            return offset - start + address;
        }
    }
    panic!("no segment has the offset {offset:#x}");
}

/// Entry and return, arguments and results, and each way to name a place. What isn't there is said, and counts nothing.
pub(super) fn places() {
    let this = this();
    let (offset, address) = own_place();
    let policies = [
        on(
            "entry",
            "",
            &this,
            &format!(
                "symbols: [{SYMBOL}]\n    args: [{{index: 0, type: uint64}}, {{index: 1, type: string}}]\n    selectors: \
                 [{{matchArgs: [{{index: 0, operator: Equal, values: ['7']}}, {{index: 1, operator: Prefix, values: [sec]}}]}}]"
            ),
        ),
        on("all", "", &this, &format!("symbols: [{SYMBOL}]")),
        on(
            "result",
            "",
            &this,
            &format!(
                "symbols: [{SYMBOL}]\n    return: true\n    returnArg: {{index: 0, type: uint64}}\n    selectors: \
                 [{{matchReturnArgs: [{{index: 0, operator: Equal, values: ['14']}}]}}]"
            ),
        ),
        on("offset", "", &this, &format!("offsets: [{offset}]")),
        on("address", "", &this, &format!("addrs: [{address}]")),
        on("missing", "", &this, "symbols: [gatewatch_nothing]"),
        on("absent", "", Path::new("/usr/bin/nothing"), "symbols: [main]"),
        on(
            "program",
            "",
            &this,
            &format!(
                "symbols: [{SYMBOL}]\n    selectors: [{{matchBinaries: [{{operator: NotIn, values: [{}]}}]}}]",
                this.display()
            ),
        ),
    ];
    let agent = Agent::start(&[("p.yaml", &policies.concat())], &pod::list(&[]));
    wait_attached(&agent, 6);
    counted(7, c"secret", 100);
    counted(7, c"other", 10);
    counted(8, c"secret", 5);
    make("counted", "20");
    let text = agent.metrics();
    let of = |policy| agent.events(&[("policy", policy)]);
    let names = ["entry", "all", "result", "offset", "address", "missing", "absent", "program"];
    let counts = names.map(of);
    assert_eq!(counts, [120, 135, 130, 135, 135, 0, 0, 0], "{text}\n{}", agent.log());
    let label = format!("uprobe:{}/{SYMBOL}", this.display());
    assert_eq!(agent.events(&[("policy", "all"), ("hook", &label)]), 135, "{text}");
    for policy in ["missing", "absent"] {
        let waits = agent.sum("gatewatch_policy_info", &[("policy", policy), ("reason", "waiting")]);
        assert_eq!(waits, 1, "{policy}: {text}");
    }
    assert_eq!(in_state(&agent, "failed"), 1, "{text}");
    assert!(agent.log().contains("it has no function `gatewatch_nothing`"), "{}", agent.log());
    // Removed hooks count no more, and the others continue.
    fs::write(agent.policies.join("p.yaml"), &policies[0]).expect("written");
    wait_attached(&agent, 1);
    counted(7, c"secret", 3);
    assert_eq!(agent.events(&[("policy", "entry")]), 123, "{}", agent.log());
    assert_eq!(agent.events(&[]), 123, "{}", agent.metrics());
}

/// Processes on two processors that fork and execute between: none of their calls is missed or counted twice.
pub(super) fn many_processes() {
    const PROCESSES: u64 = 8;
    const CALLS_EACH: u64 = 2_000;
    let this = this();
    let returned =
        format!("symbols: [{SYMBOL}]\n    return: true\n    returnArg: {{index: 0, type: uint64}}");
    let policies = [
        on("entry", "", &this, &format!("symbols: [{SYMBOL}]")),
        on("again", "", &this, &format!("symbols: [{SYMBOL}]")),
        on("return", "", &this, &returned),
    ];
    let agent = Agent::start(&[("p.yaml", &policies.concat())], &pod::list(&[]));
    wait_attached(&agent, 3);
    let callers: Vec<Child> = (0..PROCESSES)
        .map(|_| {
            let mut command = Command::new(&this);
            command.args([CALLS, "counted", &CALLS_EACH.to_string()]);
            command.spawn().expect("a process that makes calls")
        })
        .collect();
    for mut caller in callers {
        assert!(caller.wait().expect("it ends").success());
    }
    for policy in ["entry", "again", "return"] {
        let count = agent.events(&[("policy", policy)]);
        assert_eq!(count, PROCESSES * CALLS_EACH, "{policy}: {}\n{}", agent.metrics(), agent.log());
    }
}

/// Changes the root folder, and executes what the words say.
pub(super) fn enter(root: &Path, words: &[&str]) -> Option<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    std::os::unix::fs::chroot(root).expect("another root");
    std::env::set_current_dir("/").expect("the root");
    let error = Command::new(words[0]).arg(CALLS).args(&words[1..]).exec();
    panic!("cannot run {}: {error}", words[0]);
}

/// A container whose first process waits for a file, makes so many calls, and ends.
struct Pod {
    container: Container,
    process: Child,
    go: PathBuf,
}

impl Pod {
    /// `root`: the root folder of its process, which has this program at its path.
    fn start(number: u8, root: Option<&Path>, calls: u64) -> Self {
        let this = this();
        let container = Container::create(&uid(number), &id(number)).expect("a cgroup");
        let go = PathBuf::from(format!("/run/go-{number}-{calls}"));
        let program = this.display().to_string();
        let mut command = container.command(&this, &program);
        command.arg(CALLS);
        if let Some(root) = root {
            command.arg("rooted").arg(root).arg(&program);
        }
        command.arg("counted-when").arg(&go).arg(calls.to_string());
        let process = command.spawn().expect("a process in a container");
        let go = root.map_or(go.clone(), |root| root.join(go.strip_prefix("/").expect("absolute")));
        Self { container, process, go }
    }

    fn go(&self) {
        fs::write(&self.go, "").expect("written");
    }

    fn finish(mut self) {
        self.go();
        assert!(self.process.wait().expect("it ends").success());
        fs::remove_file(&self.go).expect("it was there");
    }
}

fn uid(number: u8) -> String {
    format!("00000000-0000-4000-8000-0000000001{number:02}")
}

fn id(number: u8) -> String {
    format!("{number:064x}")
}

/// A folder with this program in it, at its path.
fn own_root(name: &str) -> PathBuf {
    let root = PathBuf::from("/run").join(name);
    fs::create_dir_all(root.join("run")).expect("a folder");
    fs::create_dir_all(root.join("proc")).expect("a folder");
    copy_program(&root);
    root
}

/// Puts a new copy of this program in the place of the one that is there.
fn copy_program(root: &Path) {
    let this = this();
    let place = root.join(this.strip_prefix("/").expect("an absolute path"));
    fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
    let new = place.with_extension("new");
    fs::copy(&this, &new).expect("a copy");
    fs::rename(&new, &place).expect("in its place");
}

/// The program is found in each container that the policy selects: in one file for two of them, which is hooked once; in a file
/// of its own; and in the one that an upgrade puts there. Other containers and the host are not counted.
pub(super) fn containers() {
    let this = this();
    let manifest = |number: u8, on: &str| {
        pod::manifest("test", &format!("pod{number}"), &uid(number), &id(number), &[("counted", on)])
    };
    let manifests = [manifest(1, "all"), manifest(2, "all"), manifest(3, "none"), manifest(4, "all")];
    let scope = "  podSelector: {matchLabels: {counted: all}}\n";
    let policy = on("pods", scope, &this, &format!("symbols: [{SYMBOL}]"));
    let agent = Agent::start(&[("p.yaml", &policy)], &pod::list(&manifests));
    let waiting =
        |text: &str| sum(text, "gatewatch_policy_info", &[("policy", "pods"), ("reason", "waiting")]) == 1;
    assert!(agent.wait(waiting), "{}", agent.metrics());
    let root = own_root("own-root");
    let pods = [
        Pod::start(1, None, 30),
        Pod::start(2, None, 10),
        Pod::start(3, None, 500),
        Pod::start(4, Some(&root), 20),
    ];
    wait_attached(&agent, 3);
    counted(7, c"secret", 400);
    let containers: Vec<Container> = pods.iter().map(|pod| pod.container.clone()).collect();
    pods.into_iter().for_each(Pod::finish);
    let of = |number: u8| agent.events(&[("policy", "pods"), ("pod", &format!("pod{number}"))]);
    assert_eq!([1, 2, 3, 4].map(of), [30, 10, 0, 20], "{}\n{}", agent.metrics(), agent.log());
    assert_eq!(agent.events(&[]), 60, "{}", agent.metrics());
    assert!(!waiting(&agent.metrics()), "{}", agent.metrics());

    // An upgrade while a process of the old file still runs.
    let old = Pod::start(4, Some(&root), 7);
    wait_attached(&agent, 3);
    sleep(Duration::from_secs(2));
    copy_program(&root);
    let mut tries = 0;
    while of(4) == 20 {
        tries += 1;
        assert!(tries < 60, "{}\n{}", agent.metrics(), agent.log());
        Pod::start(4, Some(&root), 1).finish();
        sleep(Duration::from_secs(1));
    }
    let before = of(4);
    Pod::start(4, Some(&root), 5).finish();
    old.finish();
    assert_eq!(of(4), before + 12, "{}\n{}", agent.metrics(), agent.log());

    for container in containers {
        container.remove().expect("the cgroup is removed");
    }
    wait_attached(&agent, 0);
}
