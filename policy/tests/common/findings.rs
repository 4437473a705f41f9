//! The findings on a text for Gatewatch and the newest Tetragon: form, rules, schema, and every shipped kernel.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use gatewatch_kernel::Profile;
use gatewatch_policy::{
    assess::{Against, Assessment, Fleet, Kernel, assess},
    compile::Environment,
    diagnostic::{Diagnostic, Severity},
    model::NamespaceKind,
    schema::Schemas,
    selection::Selection,
    source::{Document, Located, parse},
    target::{Target, Version},
};

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reported {
    /// `GWnnn`.
    pub(crate) code: &'static str,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Where, and what.
    pub(crate) text: String,
}

impl Reported {
    /// Of a diagnostic.
    pub(crate) fn of(diagnostic: &Diagnostic) -> Self {
        Self { code: diagnostic.code.id, severity: diagnostic.severity, text: diagnostic.to_string() }
    }
}

/// The codes of what this agent does not do yet.
pub(crate) const NOT_YET: [&str; 2] = ["GW009", "GW509"];

static KERNELS: LazyLock<Vec<Profile>> = LazyLock::new(|| {
    ["5.10", "6.1", "6.12", "7.3"].iter().filter_map(|name| Profile::shipped(name)).collect()
});

/// Host namespaces as every kernel has them, whatever their numbers are.
pub(crate) fn host_namespaces() -> BTreeMap<NamespaceKind, u32> {
    NamespaceKind::ALL.iter().copied().zip(4_026_531_834..).collect()
}

/// All findings on the policies in a text, by their codes.
pub(crate) fn findings_of(text: &str, schemas: &Schemas) -> Vec<Reported> {
    findings_for(&all_targets(), text, schemas)
}

/// Both programs: nothing is left out, and nothing is less than it is.
pub(crate) fn all_targets() -> Selection {
    Selection::of(&[Target::Gatewatch, Target::Tetragon(Version::NEWEST)])
}

/// All findings on a document without a kernel.
pub(crate) fn assessed(document: &Document) -> Assessment {
    assess(document, &Against::new(&all_targets()))
}

/// All findings on the policies in a text for some targets, by their codes.
pub(crate) fn findings_for(selection: &Selection, text: &str, schemas: &Schemas) -> Vec<Reported> {
    let documents = parse(text);
    let findings = documents.iter().flat_map(|document| findings_on(selection, document, schemas));
    let mut all: Vec<Reported> = findings.map(|finding| Reported::of(&finding.diagnostic)).collect();
    all.sort();
    all
}

/// All findings on a document for some targets and the shipped kernels.
pub(crate) fn findings_on(selection: &Selection, document: &Document, schemas: &Schemas) -> Vec<Located> {
    let host_namespaces = host_namespaces();
    let kernels = KERNELS.iter().map(|kernel| Kernel {
        name: &kernel.release,
        environment: Environment { kernel, host_namespaces: &host_namespaces },
        nodes: None,
    });
    let kernels: Vec<Kernel<'_>> = kernels.collect();
    let against = Against { selection, schemas: Some(schemas), kernels: &kernels, fleet: Fleet::Requested };
    assess(document, &against).findings
}

/// The files of a folder of the corpus, in order.
pub(crate) fn corpus(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Time that this thread has had a processor, which other programs don't lengthen. Elsewhere than on Linux, any time.
pub(crate) fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    match stat.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse().ok()) {
        Some(nanoseconds) => Duration::from_nanos(nanoseconds),
        None => std::time::UNIX_EPOCH.elapsed().unwrap_or_default(),
    }
}
