//! `gatewatch events` on the samples of `gatewatch-events`.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not tests to clippy")]

use std::{
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/tests/records.jsonl")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewatch"));
    command.arg("events").args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The lines that are printed for the samples.
fn lines(arguments: &[&str]) -> Vec<String> {
    let path = samples();
    let output = run(&[arguments, &[path.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn json_is_as_it_was() {
    let text = fs::read_to_string(samples()).unwrap();
    assert_eq!(lines(&["-o", "json"]), text.lines().collect::<Vec<_>>());
}

#[test]
fn options_choose_records() {
    // The notice about lost records is always shown.
    let number = |arguments: &[&str]| lines(arguments).len() - 1;
    let all = number(&[]);
    assert_eq!(number(&["--policy", "evidence"]), all - 3, "all but exec, exit and the loader");
    assert_eq!(number(&["--policy", "none"]), 0);
    assert_eq!(number(&["--type", "exec", "--type", "exit"]), 2);
    assert_eq!(number(&["--type", "exit", "--namespace", "web"]), 0);
    assert_eq!(number(&["--pod", "api-7d4b9c"]), all - 1);
    assert_eq!(number(&["--pod", "7d4b9c"]), 0);
    assert_eq!(number(&["--binary", "sh"]), all - 1);
    assert_eq!(number(&["--binary", "/usr/bin/containerd-shim"]), 1);
    assert_eq!(number(&["--host"]), 0, "the exit's pod is not known, so its process may be in a pod");
    assert_eq!(number(&["--since", "2026-01-02T03:04:06.678902234Z"]), all - 1);
    assert_eq!(number(&["--since", "5m"]), 0);
}

#[test]
fn records_are_shown_for_people() {
    let connect = &lines(&["--explain", "--type", "kprobe", "--timestamps"])[..4];
    assert_eq!(
        connect,
        [
            "2026-01-02T03:04:06.678903234Z 🔌 connect web/api-7d4b9c-x2x7z /bin/sh tcp 10.0.0.1:40000 -> 10.0.0.2:443 \
             [SIGKILL, monitor mode: not done]",
            "    policy web/evidence, spec.kprobes[3].selectors[0] (outside)",
            "    message: \"Connection to the outside\"",
            "    tags: \"network, mitre.T1071\"",
        ]
    );
    let exit = lines(&["--explain", "--type", "exit"]);
    assert_eq!(exit[0], "💥 exit    node-a /usr/bin/containerd-shim SIGKILL");
    assert_eq!(exit[1], "    incomplete: the pod was not known within the time that a record can wait");
    let table = lines(&["-o", "table", "--type", "exec"]);
    assert!(
        table[0].starts_with("TIME") && table[1].starts_with("2026-01-02T03:04:06.678Z exec"),
        "{table:?}"
    );
    let colored = lines(&["--color", "always", "--type", "exit"]);
    assert!(colored[0].starts_with("\x1b[34m💥 exit"), "{colored:?}");
}

#[test]
fn a_tree_has_each_process_below_its_parent() {
    let tree = lines(&["--tree", "--type", "uprobe"]);
    assert_eq!(
        tree,
        [
            "41 /usr/bin/containerd-shim",
            "└─ 42 /bin/sh -c \\\"echo a b\\\" café\\n\u{fffd}  (web/api-7d4b9c-x2x7z)",
            "      🕵️ uprobe  web/api-7d4b9c-x2x7z /bin/sh /bin/bash readline ls",
            "      🕵️ uprobe  web/api-7d4b9c-x2x7z /bin/sh /bin/bash +0x1000 ls",
            "      🕵️ uprobe  web/api-7d4b9c-x2x7z /bin/sh /bin/bash 0x1000 ls",
        ]
    );
}

#[test]
fn compressed_files_and_standard_input_are_read() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("events.log.gz");
    let text = fs::read(samples()).unwrap();
    let mut encoder = GzEncoder::new(fs::File::create(&path).unwrap(), Compression::fast());
    encoder.write_all(&text).unwrap();
    encoder.finish().unwrap();
    let unpacked = run(&["-o", "json", path.to_str().unwrap()]);
    assert_eq!(unpacked.stdout, text);
    let input = fs::File::open(samples()).unwrap();
    let piped = command(&["-o", "json", "-"]).stdin(input).output().unwrap();
    assert_eq!(piped.stdout, text);
}

#[test]
fn what_is_no_record_is_reported() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("events.log");
    let good = fs::read_to_string(samples()).unwrap().lines().next().unwrap().to_owned();
    fs::write(&path, format!("{good}\n\nhello\n{{\"process_new\":{{}}}}\n{good}")).unwrap();
    let output = run(&["-o", "json", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{good}\n{good}\n"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("events.log, line 3 is not a record: expected value"), "{errors}");
    assert!(errors.contains("2 lines were left out"), "{errors}");
    let missing = run(&["/nonexistent"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot read /nonexistent"));
    let no_agent = run(&[]);
    assert!(
        String::from_utf8_lossy(&no_agent.stderr).contains("does an agent run here with --export-socket")
    );
}

/// Ends the program, also when the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_file_is_followed_over_its_rotation() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("events.log");
    let text = fs::read_to_string(samples()).unwrap();
    let records: Vec<&str> = text.lines().take(4).collect();
    fs::write(&path, format!("{}\n", records[0])).unwrap();
    let mut follow = command(&["-f", "-o", "json", path.to_str().unwrap()]);
    let mut running = Running(follow.stdout(Stdio::piped()).spawn().unwrap());
    let mut output = BufReader::new(running.0.stdout.take().unwrap()).lines();
    assert_eq!(output.next().unwrap().unwrap(), records[0]);
    // A line that is written in two parts.
    let (first, second) = records[1].split_at(10);
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    writeln!(file, "{second}").unwrap();
    assert_eq!(output.next().unwrap().unwrap(), records[1]);
    fs::rename(&path, folder.path().join("events-old.log")).unwrap();
    fs::write(&path, format!("{}\n", records[2])).unwrap();
    assert_eq!(output.next().unwrap().unwrap(), records[2]);
    fs::write(&path, format!("{}\n", records[3])).unwrap();
    assert_eq!(output.next().unwrap().unwrap(), records[3]);
}

#[test]
fn a_socket_is_shown_at_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("events.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut read = command(&["-o", "json", "--socket", path.to_str().unwrap()]);
    let mut running = Running(read.stdout(Stdio::piped()).spawn().unwrap());
    let mut output = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let (mut stream, _) = listener.accept().unwrap();
    let text = fs::read_to_string(samples()).unwrap();
    for record in text.lines().take(3) {
        writeln!(stream, "{record}").unwrap();
        assert_eq!(output.next().unwrap().unwrap(), record, "shown before the next one comes");
    }
    drop(stream);
    assert!(output.next().is_none());
    assert!(running.0.wait().unwrap().success());
}
