//! Outputs from outside: what is sent arrives, and what does not is counted.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use gatewatch_events::{
    Argument, Event, Timestamp, Value,
    event::{Body, Exec},
    hook::Kprobe,
};
use gatewatch_export::{ExportOptions, OutputState, Outputs, Reason, Tally};
use tempfile::TempDir;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    export: ExportOptions,
}

fn options(arguments: &[&str]) -> ExportOptions {
    Command::try_parse_from([&["test"], arguments].concat()).unwrap().export
}

fn start(arguments: &[&str]) -> Outputs {
    Outputs::start(&options(arguments)).unwrap()
}

/// A record with this process id, and `padding` bytes more.
fn event(pid: u32, padding: usize) -> Event {
    let mut body = Kprobe { function_name: "tcp_connect".to_owned(), ..Kprobe::default() };
    body.processes.process.pid = Some(pid);
    body.processes.process.arguments = "--token abc".to_owned();
    body.args = vec![Argument::new(Value::String("x".repeat(padding)))];
    Event::new(Body::ProcessKprobe(Box::new(body)), Timestamp(1))
}

fn pids(text: &str) -> Vec<u32> {
    let pid = |line: &str| Event::parse(line.as_bytes()).unwrap().process().unwrap().pid.unwrap();
    text.lines().map(pid).collect()
}

fn wait(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen within a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn state(outputs: &Outputs, name: &str) -> OutputState {
    outputs.states().into_iter().find(|state| state.name == name).unwrap()
}

fn dropped(outputs: &Outputs, name: &str, reason: Reason) -> u64 {
    state(outputs, name).dropped.iter().find(|(known, _)| *known == reason).unwrap().1
}

/// Everything that was sent is in one of the accounts.
fn settled(tally: &Tally) -> u64 {
    tally.written() + Reason::ALL.iter().map(|reason| tally.not_written(*reason)).sum::<u64>()
}

#[test]
fn a_file_has_every_record_in_order_and_redacted() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("events.log");
    let outputs = start(&["--export-filename", path.to_str().unwrap(), "--export-file-perm", "644"]);
    let tally = Arc::new(Tally::default());
    for pid in 0..1000 {
        outputs.send(event(pid, 0), &tally);
    }
    outputs.stop(Duration::from_secs(60));
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(pids(&text), (0..1000).collect::<Vec<_>>());
    assert_eq!((tally.written(), settled(&tally)), (1000, 1000));
    let state = state(&outputs, "file");
    assert_eq!((state.written, state.bytes, state.queued), (1000, text.len() as u64, 0));
    assert!(text.contains("--token *****") && !text.contains("abc"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn filters_and_limits_are_counted_apart() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("events.log");
    let outputs = start(&[
        "--export-filename",
        path.to_str().unwrap(),
        "--export-denylist",
        r#"{"pid":[1,2]}"#,
        "--export-rate-limit",
        "5",
        "--field-filters",
        r#"{"fields":"process.pid"}"#,
        "--no-redaction",
    ]);
    let tally = Arc::new(Tally::default());
    for pid in 0..10 {
        outputs.send(event(pid, 0), &tally);
    }
    outputs.stop(Duration::from_secs(60));
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(pids(&text), [0, 3, 4, 5, 6]);
    assert!(text.starts_with(r#"{"process_kprobe":{"process":{"pid":0}},"time""#), "{text}");
    assert_eq!(tally.written(), 5);
    assert_eq!((tally.not_written(Reason::Filter), tally.not_written(Reason::RateLimit)), (2, 3));
    assert_eq!(settled(&tally), 10);
}

#[test]
fn a_reader_that_stops_reading_delays_nobody() {
    let folder = TempDir::new().unwrap();
    let (socket, file) = (folder.path().join("events.sock"), folder.path().join("events.log"));
    let outputs =
        start(&["--export-filename", file.to_str().unwrap(), "--export-socket", socket.to_str().unwrap()]);
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let stalled = UnixStream::connect(&socket).unwrap();
    let reader = std::thread::spawn({
        let stream = UnixStream::connect(&socket).unwrap();
        move || {
            let mut text = String::new();
            BufReader::new(stream).read_to_string(&mut text).unwrap();
            text
        }
    });
    let tally = Arc::new(Tally::default());
    // Until both readers are there, nothing is for them.
    wait("the readers' connection", || {
        outputs.send(event(7, 0), &tally);
        state(&outputs, "socket").written >= 2
    });
    std::thread::sleep(Duration::from_millis(200));
    let begin = Instant::now();
    for pid in 0..2000 {
        outputs.send(event(pid, 2000), &tally);
        std::thread::sleep(Duration::from_micros(500));
    }
    assert!(begin.elapsed() < Duration::from_secs(30));
    wait("the file's end", || state(&outputs, "file").queued == 0);
    outputs.stop(Duration::from_secs(60));
    let text = reader.join().unwrap();
    let (mut read, mut lost) = (0, 0);
    for line in text.lines() {
        match Event::parse(line.as_bytes()).unwrap().body {
            Body::RateLimitInfo(info) => lost += info.number_of_dropped_process_events,
            _ => read += u64::from(line.len() > 2000),
        }
    }
    // The other reader is slow only if this machine is.
    assert_eq!(read + lost, 2000);
    assert!(read > 500, "{read} records arrived");
    assert!(dropped(&outputs, "socket", Reason::QueueFull) > 0);
    assert_eq!(tally.not_written(Reason::QueueFull), 0, "the file has them");
    drop(stalled);
    assert!(!socket.exists());
}

#[test]
fn a_slow_reader_learns_what_it_lost() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("events.sock");
    let outputs = start(&["--export-socket", socket.to_str().unwrap()]);
    let tally = Arc::new(Tally::default());
    outputs.send(event(1, 0), &tally);
    assert_eq!(tally.not_written(Reason::NoReader), 1);
    let stream = UnixStream::connect(&socket).unwrap();
    wait("the reader's connection", || {
        outputs.send(event(7, 0), &tally);
        state(&outputs, "socket").written >= 1
    });
    for pid in 0..3000 {
        outputs.send(event(pid, 4000), &tally);
    }
    let lost = dropped(&outputs, "socket", Reason::QueueFull);
    assert!(lost > 0);
    let (mut noticed, mut read) = (0, 0);
    for line in BufReader::new(&stream).lines() {
        match Event::parse(line.unwrap().as_bytes()).unwrap().body {
            Body::RateLimitInfo(info) => noticed += info.number_of_dropped_process_events,
            _ => read += 1,
        }
        if noticed == lost {
            break;
        }
        // A notice is written with the next record.
        outputs.send(event(8, 0), &tally);
    }
    assert_eq!(noticed, lost);
    assert!(read > 0);
    drop(stream);
    wait("the reader's end", || {
        outputs.send(event(9, 0), &tally);
        settled(&tally) == tally.written() + lost + tally.not_written(Reason::NoReader)
            && tally.not_written(Reason::NoReader) > 1
    });
    outputs.stop(Duration::from_secs(60));
}

#[test]
fn two_agents_do_not_share_a_socket() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("events.sock");
    let arguments = ["--export-socket", path.to_str().unwrap()];
    let first = start(&arguments);
    let error = Outputs::start(&options(&arguments)).unwrap_err().to_string();
    assert!(error.contains("in use by another agent"), "{error}");
    first.stop(Duration::from_secs(60));
    // A killed agent leaves its socket.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    start(&arguments).stop(Duration::from_secs(60));
    fs::write(&path, "").unwrap();
    let error = Outputs::start(&options(&arguments)).unwrap_err().to_string();
    assert!(error.contains("is not a socket"), "{error}");
}

#[test]
fn mistakes_name_the_option() {
    let error = |arguments: &[&str]| Outputs::start(&options(arguments)).unwrap_err().to_string();
    let denied = error(&["--export-stdout", "--export-denylist", r#"{"pidd":[1]}"#]);
    assert!(denied.starts_with("--export-denylist: filter 1: `pidd`"), "{denied}");
    let allowed = error(&["--export-stdout", "--export-allowlist", "x"]);
    assert!(allowed.starts_with("--export-allowlist: filter 1"), "{allowed}");
    let missing = error(&["--export-filename", "/nonexistent/events.log"]);
    assert!(missing.starts_with("cannot open /nonexistent/events.log: No such file"), "{missing}");
}

/// A file system of 256 KiB at a folder. Only root can mount one: without it, the test has nothing to test.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        use rustix::mount::{MountFlags, mount};
        let size = c"size=256k";
        match mount("tmpfs", at, "tmpfs", MountFlags::empty(), size) {
            Ok(()) => Some(Self(at)),
            Err(error) => {
                eprintln!("not tested, because no file system can be mounted here: {error}");
                None
            }
        }
    }

    fn read_only(&self, read_only: bool) {
        use rustix::mount::{MountFlags, mount_remount};
        let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        mount_remount(self.0, flags, c"").unwrap();
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_file_system_loses_only_what_does_not_fit() {
    let folder = TempDir::new().unwrap();
    let Some(_mounted) = Small::mount(folder.path()) else { return };
    let path = folder.path().join("events.log");
    let outputs = start(&["--export-filename", path.to_str().unwrap()]);
    let tally = Arc::new(Tally::default());
    for pid in 0..200 {
        outputs.send(event(pid, 4000), &tally);
    }
    wait("the accounts' end", || settled(&tally) == 200);
    let full = tally.not_written(Reason::OutputFailed);
    assert!(full > 100, "{full} records did not fit");
    let failure = state(&outputs, "file").failure.unwrap();
    assert!(failure.contains("No space left on device"), "{failure}");
    assert_eq!(pids(&fs::read_to_string(&path).unwrap()).len() as u64, tally.written(), "only whole lines");
    // Space that becomes free is used.
    fs::write(&path, "").unwrap();
    outputs.send(event(201, 0), &tally);
    wait("the next record", || settled(&tally) == 201);
    assert_eq!(tally.not_written(Reason::OutputFailed), full);
    assert_eq!(state(&outputs, "file").failure, None);
    assert_eq!(pids(&fs::read_to_string(&path).unwrap()), [201]);
    outputs.stop(Duration::from_secs(60));
}

#[test]
fn a_read_only_file_system_is_reported_and_ends() {
    let folder = TempDir::new().unwrap();
    let Some(mounted) = Small::mount(folder.path()) else { return };
    let path = folder.path().join("events.log");
    let outputs = start(&["--export-filename", path.to_str().unwrap()]);
    // The open file would block the change.
    fs::rename(&path, folder.path().join("moved")).unwrap();
    wait("the file's replacement", || {
        path.exists() || {
            outputs.send(exec(), &Arc::new(Tally::default()));
            false
        }
    });
    outputs.stop(Duration::from_secs(60));
    mounted.read_only(true);
    let error =
        Outputs::start(&options(&["--export-filename", path.to_str().unwrap()])).unwrap_err().to_string();
    assert!(error.contains("Read-only file system"), "{error}");
    mounted.read_only(false);
}

fn exec() -> Event {
    Event::new(Body::ProcessExec(Box::new(Exec::default())), Timestamp(1))
}
