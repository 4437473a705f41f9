use std::{io::Read as _, sync::Arc};

use flate2::read::GzDecoder;
use tempfile::TempDir;

use super::*;
use crate::ledger::{Tally, Ticket};

fn lines(texts: &[&str]) -> Vec<Line> {
    let tally = Arc::new(Tally::default());
    let line = |text: &&str| Line {
        text: format!("{text}\n").into_bytes().into(),
        ticket: Arc::new(Ticket::new(&tally)),
    };
    texts.iter().map(line).collect()
}

fn options(folder: &TempDir) -> FileOptions {
    FileOptions {
        path: folder.path().join("events.log"),
        max_bytes: 10,
        max_backups: 2,
        rotation_interval: None,
        compress: false,
        mode: 0o640,
    }
}

/// The names and contents of what is in a folder, in order. Times are replaced.
fn content(folder: &TempDir) -> Vec<(String, String)> {
    let mut found: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with(".gz") {
                let mut text = Vec::new();
                GzDecoder::new(&bytes[..]).read_to_end(&mut text).unwrap();
                bytes = text;
            }
            (name, String::from_utf8(bytes).unwrap())
        })
        .collect();
    found.sort();
    for (name, _) in &mut found {
        *name = name.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    }
    found
}

#[test]
fn a_file_is_rotated_before_it_is_too_large() {
    let folder = TempDir::new().unwrap();
    let mut file = RotatingFile::open(options(&folder)).unwrap();
    for text in ["1111", "2222", "3333", "44444444444444", "5", "6", "77777", "8888"] {
        file.write(&lines(&[text])).unwrap();
    }
    file.finish();
    let backup = "events-0000-00-00T00-00-00.000.log";
    let expected = [(backup, "44444444444444\n"), (backup, "5\n6\n77777\n"), ("events.log", "8888\n")];
    assert_eq!(content(&folder), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("events.log"), 0o640);
}

#[test]
fn a_batch_is_divided_among_files() {
    let folder = TempDir::new().unwrap();
    let mut file = RotatingFile::open(FileOptions { max_backups: 0, ..options(&folder) }).unwrap();
    file.write(&lines(&["1111", "2222", "3333", "4444", "5555"])).unwrap();
    file.finish();
    let texts: Vec<String> = content(&folder).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["1111\n2222\n", "3333\n4444\n", "5555\n"]);
}

#[test]
fn rotated_files_are_compressed_and_others_stay() {
    let folder = TempDir::new().unwrap();
    let foreign = ["events-old.log", "events-2026-01-02.log", "events.log.bak", "other.log"];
    for name in foreign {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    fs::write(folder.path().join("events-2026-01-02T03-04-05.678.log.gz.part"), "half").unwrap();
    let mut file = RotatingFile::open(FileOptions { compress: true, ..options(&folder) }).unwrap();
    for text in ["1111111", "2222222", "3333333", "4444444"] {
        file.write(&lines(&[text])).unwrap();
    }
    file.finish();
    for name in foreign {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let backup = "events-0000-00-00T00-00-00.000.log.gz";
    let expected = [(backup, "2222222\n"), (backup, "3333333\n"), ("events.log", "4444444\n")];
    assert_eq!(content(&folder), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
}

#[test]
fn time_rotates_a_file_that_has_records() {
    let folder = TempDir::new().unwrap();
    let interval = Some(Duration::from_millis(50));
    let mut file =
        RotatingFile::open(FileOptions { rotation_interval: interval, ..options(&folder) }).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    file.tick().unwrap();
    assert_eq!(content(&folder).len(), 1, "an empty file is not rotated");
    file.write(&lines(&["1"])).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    file.tick().unwrap();
    assert_eq!(content(&folder).len(), 2);
    file.finish();
}

#[test]
fn a_file_that_was_moved_is_made_again() {
    let folder = TempDir::new().unwrap();
    let mut file = RotatingFile::open(options(&folder)).unwrap();
    file.write(&lines(&["1"])).unwrap();
    fs::rename(folder.path().join("events.log"), folder.path().join("moved")).unwrap();
    std::thread::sleep(CHECK);
    file.write(&lines(&["2"])).unwrap();
    fs::remove_file(folder.path().join("events.log")).unwrap();
    std::thread::sleep(CHECK);
    file.write(&lines(&["3"])).unwrap();
    let expected = [("events.log", "3\n"), ("moved", "1\n")];
    assert_eq!(content(&folder), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    file.finish();
}

#[test]
fn an_agent_continues_a_file_after_a_whole_line() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("events.log"), "1\n{\"half").unwrap();
    let mut file = RotatingFile::open(FileOptions { max_bytes: 100, ..options(&folder) }).unwrap();
    file.write(&lines(&["2"])).unwrap();
    assert_eq!(content(&folder)[0].1, "1\n{\"half\n2\n");
    file.finish();
}

#[test]
fn only_regular_files_are_written() {
    let folder = TempDir::new().unwrap();
    let open = |path: &Path| {
        RotatingFile::open(FileOptions { path: path.to_owned(), ..options(&folder) }).unwrap_err().to_string()
    };
    assert_eq!(
        open(Path::new("/dev/null")),
        "/dev/null is not a regular file; use --export-stdout for standard output"
    );
    assert!(open(folder.path()).contains("Is a directory"), "{}", open(folder.path()));
    let missing = folder.path().join("none/events.log");
    assert!(open(&missing).starts_with(&format!("cannot open {}: No such file", missing.display())));
}
