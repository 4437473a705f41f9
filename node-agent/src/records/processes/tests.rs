use super::{
    texts::{BYTES_MAX, SHORT, SHORT_PATH},
    *,
};

fn execute(table: &mut Processes, pid: u32, start: u64, time: u64, binary: &str) -> Lineage {
    let who = RecordExec { parent: 1, parent_start: 10, ..RecordExec::default() };
    let texts = Given { binary: binary.as_bytes(), command_line: b"a\0", cwd: b"/", cut: Cut::default() };
    table.executed(&Executed { pid, start, time, cgroup: 1, pod: 1, who, texts })
}

/// A program with texts of these lengths, executed by a process of this pod.
fn execute_long(table: &mut Processes, pod: u64, pid: u32, lengths: [usize; 3]) -> Lineage {
    let [binary, command_line, cwd] = lengths.map(|length| vec![b'x'; length]);
    let texts = Given { binary: &binary, command_line: &command_line, cwd: &cwd, cut: Cut::default() };
    let who = RecordExec::default();
    table.executed(&Executed { pid, start: 10, time: 20, cgroup: pod, pod, who, texts })
}

fn binary(image: &Image) -> &str {
    std::str::from_utf8(&image.texts.binary).unwrap()
}

fn parent(lineage: &Lineage) -> &str {
    binary(lineage.parent.as_ref().unwrap())
}

/// Bytes of all texts that the table keeps alive, each once.
fn alive(table: &Processes) -> usize {
    let lineages = table.known.values().map(|entry| &entry.lineage);
    let images = lineages.flat_map(|lineage| lineage.parent.iter().chain([&lineage.image]));
    let texts: HashMap<_, _> =
        images.map(|image| (Arc::as_ptr(&image.texts), Arc::clone(&image.texts))).collect();
    texts.values().map(|texts| texts.binary.len() + texts.command_line.len() + texts.cwd.len()).sum()
}

#[test]
fn parents_are_who_made_them() {
    let mut table = Processes::default();
    execute(&mut table, 1, 10, 20, "/init");
    let cloned = table.forked((1, 10), (2, 30), 1);
    assert_eq!((binary(&cloned.image), cloned.image.origin), ("/init", Origin::Cloned));
    // The parent runs another program before the child does.
    execute(&mut table, 1, 10, 40, "/second");
    let child = execute(&mut table, 2, 30, 50, "/child");
    assert_eq!(parent(&child), "/init", "as it was at its birth");
    assert_eq!(child.image.origin, Origin::ExecutedFirst);
    let again = execute(&mut table, 2, 30, 60, "/again");
    assert_eq!((parent(&again), again.image.origin), ("/child", Origin::Executed));
    assert_eq!(again.image.parent, Some(child.image.id));
    assert_eq!(again.parent.unwrap().parent, Some(ImageId { pid: 1, since: 20 }), "by its name alone");
}

#[test]
fn an_id_that_comes_back_is_another_process() {
    let (mut table, now) = (Processes::default(), Instant::now());
    execute(&mut table, 7, 10, 20, "/a");
    assert!(table.exited(7, 10, now).is_some());
    assert!(table.exited(7, 10, now).is_none(), "it has ended once");
    assert!(table.get(7, 10).is_some(), "records may follow");
    assert!(table.get(7, 11).is_none());
    execute(&mut table, 7, 11, 30, "/b");
    table.forget(now + KEPT);
    assert_eq!(binary(&table.get(7, 11).unwrap().image), "/b", "the end was the earlier one's");
    table.exited(7, 11, now + KEPT);
    table.forget(now + 2 * KEPT);
    assert_eq!((table.len(), table.bytes()), (0, 0));
}

#[test]
fn processes_whose_end_is_not_reported_are_forgotten() {
    let (mut table, now) = (Processes::default(), Instant::now());
    for pid in 0..10_000 {
        execute(&mut table, pid, 10, 20, "/a");
    }
    table.check(now, |pid| pid < 100);
    assert!(table.exited(200, 10, now).is_some(), "the record of its end came late");
    execute(&mut table, 201, 11, 30, "/b");
    table.check(now, |_| panic!("there are few"));
    table.forget(now + KEPT);
    assert_eq!(table.len(), 101);
    assert!(table.get(201, 11).is_some(), "a later process of the same id");
}

#[test]
fn one_that_was_found_is_known_by_ticks() {
    let mut table = Processes::default();
    let image = Image { id: ImageId { pid: 3, since: 5 * TICK }, ..Image::default() };
    table.found(Found { ticks: 5, image, ..Found::default() });
    assert!(table.get(3, 5 * TICK + 123).is_some());
    assert!(table.get(3, 6 * TICK).is_none());
}

#[test]
fn a_program_that_executes_itself_without_end_takes_no_more_memory() {
    let mut table = Processes::default();
    for time in 0..10_000 {
        execute(&mut table, 9, 10, time, "/again");
    }
    assert_eq!((table.len(), table.bytes()), (1, 2 * 9), "the program and the one before it");
}

#[test]
fn programs_before_the_last_one_are_counted_as_long_as_they_are_kept() {
    let mut table = Processes::default();
    for _ in 0..16 {
        execute_long(&mut table, 1, 9, [4_000; 3]);
    }
    execute_long(&mut table, 1, 9, [2, 2, 1]);
    assert_eq!((table.bytes(), alive(&table)), (12_005, 12_005));
    // A child keeps the program that made it, with its parent gone on to others.
    table.forked((9, 10), (11, 30), 1);
    execute_long(&mut table, 1, 9, [30, 3, 3]);
    execute_long(&mut table, 1, 9, [7, 7, 7]);
    assert_eq!((table.bytes(), alive(&table)), (5 + 36 + 21, 5 + 36 + 21));
    let now = Instant::now();
    table.exited(9, 10, now);
    table.exited(11, 30, now);
    table.forget(now + KEPT);
    assert_eq!((table.len(), table.bytes()), (0, 0));
}

#[test]
fn a_pod_over_its_share_leaves_the_texts_of_others_as_they_are() {
    let mut table = Processes::default();
    for pid in 100..10_100 {
        execute_long(&mut table, 1, pid, [20, 4_000, 20]);
    }
    let other = execute_long(&mut table, 2, 7, [300, 4_000, 300]);
    let Texts { binary, command_line, cwd, cut, .. } = &*other.image.texts;
    assert_eq!([binary.len(), command_line.len(), cwd.len()], [300, 4_000, 300]);
    assert_eq!(*cut, Cut::default());
    let last = execute_long(&mut table, 1, 8, [200, 4_000, 20]);
    assert_eq!(last.image.texts.binary.len(), 200, "a path is not cut as long as it is a usual one");
    assert_eq!(last.image.texts.cut, Cut { command_line: true, ..Cut::default() });
    assert!(table.cut() > 7_000, "{}", table.cut());
}

#[test]
fn memory_is_bounded() {
    let mut table = Processes::default();
    for pid in 0..10_000 {
        for pod in 0..3 {
            execute_long(&mut table, pod, pid, [4_000; 3]);
        }
    }
    assert_eq!((table.len(), table.bytes()), (10_000, alive(&table)));
    let short = 2 * 10_000 * (SHORT_PATH + 2 * SHORT);
    assert!(table.bytes() < BYTES_MAX + short, "{}", table.bytes());
}
