//! A fix that is called safe removes what it is for and brings nothing new, wherever the corpus and the pages have one.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

#[path = "common/findings.rs"]
mod common;

use std::{collections::BTreeMap, fs};

use gatewatch_kernel::Profile;
use gatewatch_policy::{
    assess::{Against, Kernel, assess},
    codes::ALL,
    compile::Environment,
    diagnostic::{Diagnostic, Edit, FieldPath, Fix, Step},
    pages,
    source::{self, Document, parse},
};
use serde_json::Value;

use self::common::{NOT_YET, all_targets, corpus, host_namespaces};

/// All findings on an object.
fn reported(object: &Value, kernel: &Profile) -> Vec<Diagnostic> {
    let (selection, host_namespaces) = (all_targets(), host_namespaces());
    let environment = Environment { kernel, host_namespaces: &host_namespaces };
    let kernels = [Kernel { name: "6.12", environment, nodes: None }];
    let against = Against { kernels: &kernels, ..Against::new(&selection) };
    let findings = assess(&Document::from_json(object), &against).findings;
    findings.into_iter().map(|finding| finding.diagnostic).collect()
}

fn at<'a>(object: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(object, |value, step| match step {
        Step::Field(name) => value.get_mut(name.as_str()),
        Step::Index(index) => value.get_mut(index),
    })
}

fn yaml(text: &str) -> Value {
    source::parse(text)[0].root.to_json()
}

/// The object after the fix; `None` where there is nothing at its place.
fn applied(object: &Value, Fix { path: FieldPath(path), edit, .. }: &Fix) -> Option<Value> {
    let mut object = object.clone();
    let (last, around) = path.split_last()?;
    match (edit, last) {
        (Edit::Replace(text), _) => *at(&mut object, path)? = yaml(text),
        (Edit::AddField(name, text), _) => {
            at(&mut object, path)?.as_object_mut()?.insert(name.clone(), yaml(text));
        }
        (Edit::Append(text), _) => at(&mut object, path)?.as_array_mut()?.push(yaml(text)),
        (Edit::Extend(all), _) => {
            at(&mut object, path)?.as_array_mut()?.extend(all.iter().map(|text| yaml(text)));
        }
        (Edit::Remove, Step::Field(name)) => {
            drop(at(&mut object, around)?.as_object_mut()?.remove(name.as_str())?);
        }
        (Edit::Remove, Step::Index(index)) => drop(at(&mut object, around)?.as_array_mut()?.remove(*index)),
        (Edit::Rename(new), Step::Field(name)) => {
            let members = at(&mut object, around)?.as_object_mut()?;
            let value = members.remove(name.as_str())?;
            members.insert(new.clone(), value);
        }
        (Edit::Join, Step::Index(index)) => {
            let selectors = at(&mut object, around)?.as_array_mut()?;
            let Value::Object(members) = selectors.remove(*index) else { return None };
            selectors.get_mut(index.checked_sub(1)?)?.as_object_mut()?.extend(members);
        }
        (Edit::Rename(_), Step::Index(_)) | (Edit::Join, Step::Field(_)) => return None,
    }
    Some(object)
}

fn counts(found: &[Diagnostic]) -> BTreeMap<&'static str, usize> {
    found.iter().fold(BTreeMap::new(), |mut counts, diagnostic| {
        *counts.entry(diagnostic.code.id).or_default() += 1;
        counts
    })
}

/// Every object of corpus and pages.
fn objects() -> Vec<(String, Value)> {
    let files = ["good", "warn", "bad"].iter().flat_map(|folder| corpus(folder));
    let files = files.map(|file| (file.display().to_string(), fs::read_to_string(file).unwrap()));
    let pages = ALL.iter().filter_map(|code| Some((code.id.to_owned(), pages::parse(code.page)?)));
    let pages = pages.flat_map(|(id, page)| {
        let texts: Vec<String> = page.bad.of("policy").map(str::to_owned).collect();
        texts.into_iter().map(move |text| (id.clone(), text))
    });
    let texts = files.chain(pages);
    texts
        .flat_map(|(name, text)| {
            let objects: Vec<Value> = parse(&text).iter().map(|document| document.root.to_json()).collect();
            objects.into_iter().map(move |object| (name.clone(), object))
        })
        .collect()
}

#[test]
fn safe_fixes_mend_and_all_can_be_applied() {
    let kernel = Profile::shipped("6.12").unwrap();
    let (mut safe, mut unsafe_, mut wrong) = (0, 0, Vec::new());
    for (name, object) in objects() {
        let before = reported(&object, &kernel);
        for diagnostic in &before {
            let Some(fix) = &diagnostic.fix else { continue };
            let Some(after) = applied(&object, fix) else {
                wrong.push(format!("{name}: can't be applied: {diagnostic:?}"));
                continue;
            };
            if !fix.safe {
                unsafe_ += 1;
                continue;
            }
            safe += 1;
            let after = reported(&after, &kernel);
            let (old, new) = (counts(&before), counts(&after));
            if new.get(diagnostic.code.id).copied().unwrap_or(0) >= old[diagnostic.code.id] {
                wrong.push(format!("{name}: not fixed: {diagnostic}"));
            }
            // Without errors of the rules, the policy is compiled for the kernel for the first time.
            let more = new.iter().find(|(code, count)| **count > old.get(*code).copied().unwrap_or(0));
            if let Some((code, _)) =
                more.filter(|(code, _)| !NOT_YET.contains(code) && !code.starts_with("GW2"))
            {
                wrong.push(format!("{name}: {diagnostic}\n   then {code}: {after:?}"));
            }
        }
    }
    println!("{safe} safe fixes, {unsafe_} others");
    assert!(safe >= 15 && unsafe_ >= 15, "{safe} safe fixes, {unsafe_} others");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a policy with an error means is a guess until the error is corrected, so nothing is removed because of it.
#[test]
fn no_safe_fix_rests_on_a_guess() {
    let kernel = Profile::shipped("6.12").unwrap();
    let equal = "matchArgs: [{index: 0, operator: Equal, values: [/etc/shadow]}]";
    let hook = |args: &str, first: &str| {
        let opened = format!("call: security_file_open, syscall: false, message: opens, args: [{args}]");
        format!("kprobes: [{{{opened}, selectors: [{{{first}}}, {{{equal}}}]}}]")
    };
    let file = "{index: 0, type: file}";
    let guessed = [
        hook(file, "matchArgs: [{index: 0, operator: StartsWith, values: [/etc/]}]"),
        hook(file, "matchArgs: [{index: 0, operator: equal, values: [/etc/shadow]}]"),
        hook(file, "matchArgz: [{index: 0, operator: Prefix, values: [/usr/]}]"),
        hook(file, &format!("{equal}, matchActions: [{{action: Pots}}]")),
        hook("{index: 0, type: fil}", "matchArgs: [{index: 0, operator: Prefix, values: [/etc/]}]"),
        format!(
            "selectorsMacros: {{m: {{matchArgs: [{{index: 0, operator: StartsWith, values: [/etc/]}}]}}}}, {}",
            hook(file, "macros: [m]")
        ),
        hook(file, "macros: [undefined]"),
        format!("selectorsMacros: {{m: {{macros: [undefined]}}}}, {}", hook(file, "macros: [m]")),
        format!("selectorsMacros: {{m: {{{equal}}}}}, {}", hook(file, &format!("{equal}, macros: [m]"))),
        format!(
            "podSelector: {{matchExpressions: [{{key: app, operator: Inn, values: [shop]}}, {{key: app, operator: \
             Exists}}]}}, {}",
            hook(file, "matchArgs: [{index: 0, operator: Prefix, values: [/usr/]}]")
        ),
    ];
    for spec in guessed {
        let object = yaml(&format!(
            "{{apiVersion: cilium.io/v1alpha1, kind: TracingPolicy, metadata: {{name: p}}, spec: {{{spec}}}}}"
        ));
        let found = reported(&object, &kernel);
        assert!(found.iter().any(Diagnostic::is_error), "{spec}: {found:#?}");
        let removed = found.iter().find(|d| d.fix.as_ref().is_some_and(|fix| fix.edit == Edit::Remove));
        assert!(removed.is_none(), "{spec}: {removed:#?}");
    }
}

/// Of two fields of one name, kubectl ignores one.
#[test]
fn no_fix_rests_on_one_of_two_fields() {
    let text = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec:\n  kprobes:\n  \
                - call: security_file_open\n    message: opens\n    syscall: false\n    args: [{index: 0, type: file}]\n    \
                selectors:\n    - matchArgs: [{index: 0, operator: Equal, values: [/etc/shadow]}]\n      \
                matchArgs: [{index: 0, operator: Prefix, values: [/etc/]}]\n    \
                - matchArgs: [{index: 0, operator: Equal, values: [/etc/shadow]}]\n";
    let selection = all_targets();
    let findings = assess(&parse(text)[0], &Against::new(&selection)).findings;
    assert!(findings.iter().any(|finding| finding.diagnostic.code.id == "GW010"), "{findings:#?}");
    assert!(findings.iter().all(|finding| finding.diagnostic.fix.is_none()), "{findings:#?}");
}
