//! `gatewatch test`: unit tests of policies. Each test is an event and whether a policy should count it. The
//! reference evaluator decides, and the BPF programs agree with it.

mod event;
mod file;
mod record;

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, Result, anyhow, bail};
use event::TestEvent;
use file::{Case, Expected, TestFile};
use gatewatch_coverage::{IndexedPolicy, read as objects};
use gatewatch_kernel::Profile;
use gatewatch_policy::{
    assess::{Against, Fleet, Kernel, Objects, assess},
    compile::Environment,
    evaluate::{self, Verdict},
    plan::{HookPlan, Plan},
    selection::Selection,
    source,
    target::Target,
};
pub(crate) use record::Replayed;

use crate::{FAILED, arguments::Test, kernels::Kernels, print_message, report::counted};

/// Runs the tests of all files.
pub(crate) fn run(arguments: &Test) -> Result<ExitCode> {
    if let Some(records) = &arguments.record {
        return record::write(records, &arguments.files, arguments.kernel.as_deref());
    }
    let mut output = BufWriter::new(io::stdout().lock());
    let (mut passed, mut failed, mut broken) = (0, 0, 0);
    for path in &arguments.files {
        let results = match run_file(path, arguments.kernel.as_deref()) {
            Ok(results) => results,
            Err(error) => {
                print_message(&format!("error: {error:#}"));
                broken += 1;
                continue;
            }
        };
        for (name, outcome) in results {
            let (word, why) = match outcome {
                Outcome::Passed => ("ok", None),
                Outcome::Failed(why) => ("FAILED", Some(why)),
                Outcome::Broken(why) => ("CANNOT RUN", Some(why)),
            };
            match word {
                "ok" => passed += 1,
                "FAILED" => failed += 1,
                _ => broken += 1,
            }
            writeln!(output, "{}: {name} ... {word}", path.display())?;
            if let Some(why) = why {
                writeln!(output, "    {why}")?;
            }
        }
    }
    output.flush()?;
    let mut sentence = format!("{passed} passed, {failed} failed");
    if broken > 0 {
        sentence = format!("{sentence}, {broken} could not run");
    }
    print_message(&sentence);
    Ok(match (failed, broken) {
        (_, 1..) => ExitCode::from(FAILED),
        (1.., _) => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

enum Outcome {
    Passed,
    /// The difference between the counts and the expectation.
    Failed(String),
    /// The reason why the test cannot run.
    Broken(String),
}

/// A compiled policy.
struct Compiled {
    indexed: IndexedPolicy,
    plan: Arc<Plan>,
}

/// Compiled policies, with the kernel that they are compiled for.
pub(crate) struct Suite {
    kernels: Kernels,
    compiled: Vec<Compiled>,
}

impl Suite {
    /// Compiles the policies of files.
    pub(crate) fn load(files: &[PathBuf], kernel: Option<&str>) -> Result<Self> {
        // The last one is the newest.
        let newest = || Profile::shipped_names().last().unwrap_or("host").to_owned();
        let kernels = Kernels::load(&[kernel.map_or_else(newest, str::to_owned)])?;
        let mut suite = Self { kernels, compiled: Vec::new() };
        for path in files {
            let found = policies(path, suite.kernel()?)?;
            suite.compiled.extend(found);
        }
        Ok(suite)
    }

    fn kernel(&self) -> Result<Kernel<'_>> {
        self.kernels.iter().next().context("no kernel to test for")
    }
}

fn run_file(path: &Path, kernel: Option<&str>) -> Result<Vec<(String, Outcome)>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: TestFile = serde_saphyr::from_str(&text).map_err(|error| {
        // The reader begins each message with the word that begins ours.
        let error = error.to_string();
        anyhow!("{}: {}", path.display(), error.strip_prefix("error: ").unwrap_or(&error))
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let files: Vec<PathBuf> = file.policies.iter().map(|name| folder.join(name)).collect();
    let suite = Suite::load(&files, file.kernel.as_deref().or(kernel))?;
    if suite.compiled.is_empty() {
        bail!("{}: the files in `policies` contain no policy", path.display());
    }
    let environment = suite.kernel()?.environment;
    let outcome = |case: &Case| outcome(case, &suite.compiled, environment);
    Ok(file.tests.iter().map(|case| (case.name.clone(), outcome(case))).collect())
}

/// The policies of a file.
fn policies(path: &Path, kernel: Kernel<'_>) -> Result<Vec<Compiled>> {
    let selection = Selection::of(&[Target::Gatewatch]);
    let against =
        Against { selection: &selection, schemas: None, kernels: &[kernel], fleet: Fleet::Requested };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut found = Vec::new();
    for document in source::parse(&text) {
        for object in Objects::of(&document).objects {
            let assessment = assess(object, &against);
            let Some(policy) = &assessment.policy else { continue };
            if let Some(error) = assessment.first_error() {
                bail!("{}: the policy does not run on this kernel: {error}", path.display());
            }
            let indexed = IndexedPolicy::new(policy, objects::DEFAULT_NAMESPACE);
            let plan = assessment.plans.into_iter().next().flatten();
            found.extend(plan.map(|plan| Compiled { indexed, plan }));
        }
    }
    Ok(found)
}

/// What policies make of an event.
struct Decision {
    /// The policies that count it.
    counting: BTreeSet<String>,
    /// Why the others do not.
    reasons: Vec<String>,
    /// The first field that a policy reads and the event does not have.
    missing: Option<String>,
    /// A policy hooks the function.
    known: bool,
}

fn decide(case: &Case, policies: &[Compiled], environment: Environment<'_>) -> Result<Decision> {
    let event = TestEvent::new(case, environment)?;
    let known =
        policies.iter().any(|policy| policy.plan.hooks.iter().any(|hook| is_called(hook, case, environment)));
    let mut counting = BTreeSet::new();
    let mut reasons = Vec::new();
    for Compiled { indexed, plan } in policies {
        if !event.is_selected_by(&indexed.scope) {
            reasons.push(format!("`{}` does not select {}", indexed.id, event.subject()));
            continue;
        }
        for hook in plan.hooks.iter().filter(|hook| is_called(hook, case, environment)) {
            let origin = &hook.origin;
            match evaluate::evaluate(hook, &event) {
                Verdict::Counted(_) => _ = counting.insert(indexed.id.to_string()),
                Verdict::Dropped(n) => {
                    reasons.push(format!(
                        "`{origin}.selectors[{n}]` of `{}` matches first and does not count",
                        indexed.id
                    ));
                }
                Verdict::NoMatch => {
                    reasons.push(format!("no selector of `{origin}` of `{}` matches", indexed.id));
                }
            }
        }
    }
    Ok(Decision { counting, reasons, missing: event.missing(), known })
}

fn outcome(case: &Case, policies: &[Compiled], environment: Environment<'_>) -> Outcome {
    let Decision { counting, reasons, missing, known } = match decide(case, policies, environment) {
        Ok(decision) => decision,
        Err(error) => return Outcome::Broken(format!("{error:#}")),
    };
    if let Some(missing) = missing {
        return Outcome::Broken(format!("a policy reads {missing}, which the test does not set"));
    }
    if !known {
        // Otherwise a typo in the name would pass a test that expects no count.
        return Outcome::Broken(format!("no policy in this test hooks `{}`", case.call));
    }
    let as_expected = match &case.counted {
        Expected::Any(any) => *any != counting.is_empty(),
        Expected::By(name) => counting.len() == 1 && counting.contains(name),
        Expected::ByAll(names) => counting == names.iter().cloned().collect(),
    };
    if as_expected {
        return Outcome::Passed;
    }
    let names: Vec<&str> = counting.iter().map(String::as_str).collect();
    Outcome::Failed(match names.as_slice() {
        [] => format!("not counted: {}", reasons.join("; ")),
        names => format!(
            "{} {}",
            counted(names.len(), "policy counts it:", "policies count it:"),
            names.join(", ")
        ),
    })
}

/// Whether the test calls the function of a hook, by its symbol or the name of a system call.
fn is_called(hook: &HookPlan, case: &Case, environment: Environment<'_>) -> bool {
    let symbol = hook.point.symbol();
    // A tracepoint or an LSM hook by the label, too: `tracepoint:sched/sched_process_exec`.
    hook.point.name() == case.call
        || hook.point.label() == case.call
        || (hook.point.is_syscall() && symbol == Some(&environment.kernel.syscall_symbol(&case.call)))
}
