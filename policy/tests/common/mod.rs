//! What is said of a text, as the command line says it: form, rules and schema, and where these find no error, every
//! shipped kernel.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use gatewatch_kernel::Profile;
use gatewatch_policy::compile::{Environment, compile};
use gatewatch_policy::diagnostic::{Diagnostic, Severity};
use gatewatch_policy::model::NamespaceKind;
use gatewatch_policy::schema::{Schemas, analyze_with};
use gatewatch_policy::source::parse;

/// One thing that was said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Said {
    /// `GWnnn`.
    pub(crate) code: &'static str,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Where, and what.
    pub(crate) text: String,
}

impl Said {
    /// Of a diagnostic.
    pub(crate) fn of(diagnostic: &Diagnostic) -> Self {
        Self { code: diagnostic.code.id, severity: diagnostic.severity, text: diagnostic.to_string() }
    }
}

static KERNELS: LazyLock<Vec<Profile>> = LazyLock::new(|| {
    ["5.10", "6.1", "6.12", "7.3"].iter().filter_map(|name| Profile::shipped(name)).collect()
});

/// Host namespaces as every kernel has them, whatever their numbers are.
pub(crate) fn host_namespaces() -> BTreeMap<NamespaceKind, u32> {
    NamespaceKind::ALL.iter().copied().zip(4_026_531_834..).collect()
}

/// Everything that is said of the policies in a text, each once.
pub(crate) fn say(text: &str, schemas: &Schemas) -> Vec<Said> {
    let mut all = Vec::new();
    for document in parse(text) {
        let analysis = analyze_with(&document, schemas);
        let failed = analysis.has_errors();
        all.extend(analysis.findings.iter().map(|finding| Said::of(&finding.diagnostic)));
        let Some(policy) = analysis.policy.filter(|_| !failed) else { continue };
        for kernel in KERNELS.iter() {
            let environment = Environment { kernel, host_namespaces: &host_namespaces() };
            all.extend(compile(&policy, environment).1.iter().map(Said::of));
        }
    }
    all.sort();
    all.dedup_by(|a, b| (a.code, a.severity) == (b.code, b.severity));
    all
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
