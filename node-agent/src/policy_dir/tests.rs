use std::{fs, os::unix::fs::symlink};

use tempfile::TempDir;

use super::*;

struct Place {
    root: TempDir,
    dir: PolicyDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = PolicyDir::new(root.path());
        Self { root, dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), text).unwrap();
    }

    /// One look, as `+changed text`, `-removed`, `!problem`.
    fn poll(&mut self) -> Vec<String> {
        let changes = self.dir.poll().unwrap();
        let name = |path: &Path| path.strip_prefix(self.root.path()).unwrap().display().to_string();
        let mut said = Vec::new();
        said.extend(changes.changed.iter().map(|(path, text)| format!("+{} {text}", name(path))));
        said.extend(changes.removed.iter().map(|p| format!("-{}", name(p))));
        said.extend(changes.problems.iter().map(|p| format!("!{}", name(&p.path))));
        assert_eq!(changes.is_empty(), said.is_empty());
        said
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn which_files() {
    let mut place = Place::new();
    for name in ["a.yaml", "b.yml", "c.json", "sub/deep/d.yaml"] {
        place.write(name, name);
    }
    for name in ["readme.md", "yaml", ".hidden.yaml", ".git/x.yaml", "e.yaml~", "f.yaml.bak", "g.YAML"] {
        place.write(name, name);
    }
    fs::create_dir(place.at("dir.yaml")).unwrap();
    symlink("nowhere", place.at("broken.yaml")).unwrap();
    assert_eq!(
        place.poll(),
        ["+a.yaml a.yaml", "+b.yml b.yml", "+c.json c.json", "+sub/deep/d.yaml sub/deep/d.yaml"]
    );
    assert_eq!(place.poll(), NOTHING);
    assert_eq!(place.dir.path(), place.root.path());
}

#[test]
fn changes_are_of_content() {
    let mut place = Place::new();
    place.write("a.yaml", "1");
    place.write("b.yaml", "1");
    place.poll();
    // Same size, and so soon after the first that the times may be equal.
    place.write("a.yaml", "2");
    assert_eq!(place.poll(), ["+a.yaml 2"]);
    // Written again, or replaced, with the same content.
    place.write("a.yaml", "2");
    place.write("new", "1");
    fs::rename(place.at("new"), place.at("b.yaml")).unwrap();
    assert_eq!(place.poll(), NOTHING);
    place.write("new", "2");
    fs::rename(place.at("new"), place.at("b.yaml")).unwrap();
    place.write("c.yaml", "1");
    assert_eq!(place.poll(), ["+b.yaml 2", "+c.yaml 1"]);
}

#[test]
fn a_settled_file_is_not_read_again() {
    let mut place = Place::new();
    place.write("a.yaml", "1");
    place.poll();
    assert!(place.dir.files[&place.at("a.yaml")].stamp.is_none());
    let known = place.dir.files.get_mut(&place.at("a.yaml")).unwrap();
    let (_, stamp) = Stamp::of_path(&place.root.path().join("a.yaml")).unwrap();
    (known.stamp, known.text) = (Some(stamp), "what a read would change".to_owned());
    assert_eq!(place.poll(), NOTHING);
    assert!(!stamp.changed_before(SystemTime::now(), UNSETTLED));
    assert!(stamp.changed_before(SystemTime::now() + UNSETTLED, UNSETTLED));
    // A clock that was put back proves nothing.
    assert!(!stamp.changed_before(SystemTime::UNIX_EPOCH, UNSETTLED));
}

#[test]
fn what_is_gone_is_gone_at_the_second_look() {
    let mut place = Place::new();
    place.write("a.yaml", "1");
    place.write("sub/b.yaml", "1");
    place.poll();
    fs::remove_file(place.at("a.yaml")).unwrap();
    fs::remove_dir_all(place.at("sub")).unwrap();
    assert_eq!(place.poll(), NOTHING);
    // An editor that took it away to write it again.
    place.write("a.yaml", "1");
    assert_eq!(place.poll(), ["-sub/b.yaml"]);
    fs::remove_file(place.at("a.yaml")).unwrap();
    assert_eq!(place.poll(), NOTHING);
    assert_eq!(place.poll(), ["-a.yaml"]);
    assert_eq!(place.poll(), NOTHING);
    place.write("a.yaml", "1");
    assert_eq!(place.poll(), ["+a.yaml 1"]);
}

#[test]
fn an_emptied_file_is_believed_at_the_second_look() {
    let mut place = Place::new();
    place.write("a.yaml", "1");
    place.poll();
    place.write("a.yaml", "");
    assert_eq!(place.poll(), NOTHING);
    place.write("a.yaml", "2");
    assert_eq!(place.poll(), ["+a.yaml 2"]);
    place.write("a.yaml", "\n");
    assert_eq!(place.poll(), NOTHING);
    assert_eq!(place.poll(), ["+a.yaml \n"]);
    assert_eq!(place.poll(), NOTHING);
    // A file that was empty from the start is reported by the first poll.
    place.write("b.yaml", "");
    assert_eq!(place.poll(), ["+b.yaml "]);
}

#[test]
fn a_mounted_config_map() {
    // As kubelet lays it out (`pkg/volume/util/atomic_writer.go`).
    let mut place = Place::new();
    place.write("..2026_01_01/a.yaml", "1");
    place.write("..2026_01_01/sub/b.yaml", "1");
    symlink("..2026_01_01", place.at("..data")).unwrap();
    symlink("..data/a.yaml", place.at("a.yaml")).unwrap();
    symlink("..data/sub", place.at("sub")).unwrap();
    assert_eq!(place.poll(), ["+a.yaml 1", "+sub/b.yaml 1"]);
    // An update: another directory, and the link replaced in one step.
    place.write("..2026_01_02/a.yaml", "2");
    place.write("..2026_01_02/sub/b.yaml", "1");
    symlink("..2026_01_02", place.at("..data_tmp")).unwrap();
    fs::rename(place.at("..data_tmp"), place.at("..data")).unwrap();
    fs::remove_dir_all(place.at("..2026_01_01")).unwrap();
    assert_eq!(place.poll(), ["+a.yaml 2"]);
}

#[test]
fn links_are_followed_and_each_file_is_there_once() {
    let mut place = Place::new();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("x.yaml"), "x").unwrap();
    symlink(elsewhere.path().join("x.yaml"), place.at("link.yaml")).unwrap();
    place.write("a.yaml", "a");
    symlink("a.yaml", place.at("z.yaml")).unwrap();
    fs::create_dir(place.at("sub")).unwrap();
    symlink("..", place.at("sub/up")).unwrap();
    symlink("self.yaml", place.at("self.yaml")).unwrap();
    assert_eq!(place.poll(), ["+a.yaml a", "+link.yaml x", "!self.yaml"]);
    assert_eq!(place.poll(), NOTHING);
    fs::remove_file(place.at("z.yaml")).unwrap();
    assert_eq!(place.poll(), NOTHING);
}

#[test]
fn what_cannot_be_read_keeps_its_content() {
    let mut place = Place::new();
    place.write("a.yaml", "1");
    place.write("b.yaml", "1");
    place.poll();
    place.write("a.yaml", b"\n\xff");
    place.write("b.yaml", vec![b'#'; 3 * 1024 * 1024 + 1]);
    place.write("c.yaml", b"\xff");
    place.write("d.yaml", "fine");
    assert_eq!(place.poll(), ["+d.yaml fine", "!a.yaml", "!b.yaml", "!c.yaml"]);
    // Said once, but not forgotten.
    assert_eq!(place.poll(), NOTHING);
    let problems: Vec<_> = place.dir.problems().map(|p| p.to_string()).collect();
    assert_eq!(
        problems,
        [
            format!(
                "{} is not UTF-8 text (line 2); its policies keep running unchanged",
                place.at("a.yaml").display()
            ),
            format!(
                "{} is larger than 3 MiB; its policies keep running unchanged",
                place.at("b.yaml").display()
            ),
            format!("{} is not UTF-8 text (line 1); it is skipped", place.at("c.yaml").display()),
        ]
    );
    place.write("a.yaml", "1");
    place.write("b.yaml", vec![b'#'; 3 * 1024 * 1024]);
    fs::remove_file(place.at("c.yaml")).unwrap();
    let said = place.poll();
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("+b.yaml ###"));
    assert_eq!(place.dir.unreadable(), 0);
}

#[test]
fn a_directory_that_cannot_be_listed_loses_nothing() {
    let mut place = Place::new();
    place.write("sub/a.yaml", "1");
    place.write("sub/deep/b.yaml", "1");
    place.poll();
    // Root may read every directory, so the state of one that can't be read is made by hand.
    place.dir.problems.insert(place.at("sub"), "no".to_owned());
    fs::rename(place.at("sub"), place.at(".sub")).unwrap();
    let mut changes = Changes::default();
    for _ in 0..2 {
        place.dir.remove_absent(|_| false, &mut changes);
    }
    assert!(changes.is_empty(), "{changes:?}");
    assert!(place.dir.unseen(&place.at("sub/deep/b.yaml")));
    assert!(!place.dir.unseen(&place.at("other/b.yaml")));
}

#[test]
fn the_directory_itself() {
    let root = tempfile::tempdir().unwrap();
    let missing = root.path().join("absent");
    check(root.path()).unwrap();
    let error = PolicyDir::new(&missing).poll().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the policy directory {} does not exist; create it or choose another --policy-dir",
            missing.display()
        )
    );
    let file = root.path().join("policy.yaml");
    fs::write(&file, "").unwrap();
    for path in [&file, &file.join("below")] {
        let error = check(path).unwrap_err();
        assert!(matches!(error, DirError::NotADirectory(_)), "{error}");
    }
    let unreadable =
        DirError::Unreadable { path: "/p".into(), source: io::ErrorKind::PermissionDenied.into() };
    assert_eq!(unreadable.to_string(), "cannot read the policy directory /p: permission denied");
    // It goes away while we run: an error, and what was known stays.
    let mut place = Place::new();
    place.write("p/a.yaml", "1");
    place.dir = PolicyDir::new(place.at("p"));
    place.dir.poll().unwrap();
    fs::rename(place.at("p"), place.at("q")).unwrap();
    for _ in 0..3 {
        place.dir.poll().unwrap_err();
    }
    fs::rename(place.at("q"), place.at("p")).unwrap();
    assert!(place.dir.poll().unwrap().is_empty());
}
