//! docs/export.md lists every option and every reason.

use std::{fs, path::Path};

use clap::{Args as _, Command};
use gatewatch_export::{ExportOptions, Reason};

#[test]
fn the_page_has_every_option_and_reason() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/export.md");
    let page = fs::read_to_string(path).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let command = ExportOptions::augment_args(Command::new("test"));
    let options: Vec<String> =
        command.get_arguments().map(|option| format!("--{}", option.get_long().unwrap())).collect();
    assert!(options.len() > 10, "{options:?}");
    for name in options.iter().map(String::as_str).chain(Reason::ALL.map(Reason::name)) {
        let begins = |row: &&str| {
            row.strip_prefix("| `")
                .and_then(|row| row.strip_prefix(name))
                .is_some_and(|rest| rest.starts_with(['`', ' ']))
        };
        assert_eq!(
            rows.iter().copied().filter(|row| begins(row)).count(),
            1,
            "docs/export.md, row of {name}"
        );
    }
}
