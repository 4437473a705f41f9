//! `gatewatch test`: unit tests of policies. Each test is an event and whether a policy should count it. The
//! reference evaluator decides, and the BPF programs agree with it.

mod event;
mod file;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use gatewatch_coverage::{IndexedPolicy, read as objects};
use gatewatch_kernel::Profile;
use gatewatch_policy::assess::{Against, Fleet, Kernel, Objects, assess};
use gatewatch_policy::compile::Environment;
use gatewatch_policy::evaluate::{self, Verdict};
use gatewatch_policy::plan::{HookPlan, Plan};
use gatewatch_policy::source;
use gatewatch_policy::target::{Selection, Target};

use crate::arguments::Test;
use crate::kernels::Kernels;
use crate::report::counted;
use crate::{FAILED, complain};
use event::Given;
use file::{Case, Expected, TestFile};

/// Runs the tests of all files.
pub(crate) fn run(arguments: &Test) -> Result<ExitCode> {
    let mut output = BufWriter::new(io::stdout().lock());
    let (mut passed, mut failed, mut broken) = (0, 0, 0);
    for path in &arguments.files {
        let results = match run_file(path, arguments.kernel.as_deref()) {
            Ok(results) => results,
            Err(error) => {
                complain(&format!("error: {error:#}"));
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
    complain(&sentence);
    Ok(match (failed, broken) {
        (_, 1..) => ExitCode::from(FAILED),
        (1.., _) => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

enum Outcome {
    Passed,
    /// What was counted and what should have been.
    Failed(String),
    /// Why nothing can be said.
    Broken(String),
}

/// A policy that was compiled.
struct Compiled {
    watch: IndexedPolicy,
    plan: Arc<Plan>,
}

fn run_file(path: &Path, kernel: Option<&str>) -> Result<Vec<(String, Outcome)>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: TestFile = serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
    // The newest comes last.
    let newest = || Profile::shipped_names().last().unwrap_or("host").to_owned();
    let kernel = file.kernel.clone().or_else(|| kernel.map(str::to_owned)).unwrap_or_else(newest);
    let kernels = Kernels::load(&[kernel])?;
    let Some(kernel) = kernels.iter().next() else { bail!("no kernel to test for") };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut compiled = Vec::new();
    for name in &file.policies {
        compiled.extend(policies(&folder.join(name), kernel)?);
    }
    if compiled.is_empty() {
        bail!("{}: the files in `policies` contain no policy", path.display());
    }
    let outcome = |case: &Case| outcome(case, &compiled, kernel.environment);
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
            let watch = IndexedPolicy::new(policy, objects::DEFAULT_NAMESPACE);
            let plan = assessment.plans.into_iter().next().flatten();
            found.extend(plan.map(|plan| Compiled { watch, plan }));
        }
    }
    Ok(found)
}

fn outcome(case: &Case, policies: &[Compiled], environment: Environment<'_>) -> Outcome {
    let given = match Given::new(case, environment) {
        Ok(given) => given,
        Err(error) => return Outcome::Broken(format!("{error:#}")),
    };
    let known =
        policies.iter().any(|policy| policy.plan.hooks.iter().any(|hook| is_called(hook, case, environment)));
    let mut counting = BTreeSet::new();
    let mut reasons = Vec::new();
    for Compiled { watch, plan } in policies {
        if !given.is_watched_by(&watch.scope) {
            reasons.push(format!("`{}` does not select {}", watch.id, given.whose()));
            continue;
        }
        for (i, hook) in plan.hooks.iter().enumerate().filter(|(_, hook)| is_called(hook, case, environment))
        {
            match evaluate::evaluate(hook, &given) {
                Verdict::Counted(_) => _ = counting.insert(watch.id.to_string()),
                Verdict::Dropped(n) => {
                    reasons.push(format!(
                        "selector {n} of hook {i} of `{}` matches first and does not count",
                        watch.id
                    ));
                }
                Verdict::NoMatch => {
                    reasons.push(format!("no selector of hook {i} of `{}` matches", watch.id));
                }
            }
        }
    }
    if let Some(missing) = given.missing() {
        return Outcome::Broken(format!("a policy reads {missing}, which the test does not set"));
    }
    if !known {
        // Else a misspelt name would make a test of what isn't counted pass.
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

/// Whether a hook is on the function that is called: by its symbol, or by the name of a system call.
fn is_called(hook: &HookPlan, case: &Case, environment: Environment<'_>) -> bool {
    let symbol = hook.point.symbol();
    symbol == Some(&case.call)
        || (hook.point.is_syscall() && symbol == Some(&environment.kernel.syscall_symbol(&case.call)))
}
