//! docs/metrics.md lists the metrics that there are. `GATEWATCH_WRITE_DOCS=1 cargo test -p gatewatch-webhook --test metrics_reference`
//! writes it anew.

use std::{env, fs, path::Path, sync::Arc};

use gatewatch_webhook::{cluster::Cluster, metrics::Metrics, tls::Certificates};

/// The text around the rows.
const BEGIN: &str = "<!-- gate: written by a test of gatewatch-webhook -->\n| metric | type | labels | meaning |\n|---|---|---|---|\n";
const END: &str = "<!-- end -->\n";

#[test]
fn the_reference_lists_the_metrics_that_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("docs/metrics.md has a place for the table");
    let (_, after) = rest.split_once(END).expect("the table has an end");
    let metrics = Metrics::new(Arc::new(Cluster::default()), Arc::new(Certificates::default())).unwrap();
    let rows: Vec<String> = metrics.reference().iter().map(|row| format!("{row}\n")).collect();
    let current = format!("{before}{BEGIN}{}{END}{after}", rows.concat());
    if env::var_os("GATEWATCH_WRITE_DOCS").is_some() {
        fs::write(&path, &current).unwrap();
    }
    assert!(
        current == fs::read_to_string(&path).unwrap(),
        "docs/metrics.md is not current; GATEWATCH_WRITE_DOCS=1 with this test writes it"
    );
}
