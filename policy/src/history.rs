//! The parts of the language that not every release of Tetragon has: which release brought each, and which removed it.
//! What [`Version::OLDEST`] had and every later release has is not listed.

use crate::{
    codes::NOT_IN_VERSION,
    diagnostic::{Diagnostic, Edit, FieldPath, Fix, Step},
    model::{ActionKind, ArgType, Operator, Section, Selector},
    source::{Node, Value},
    target::{Targets, Version, Versions},
};

/// What a part is, by its place: the name of the field that holds the object it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A field.
    Field(&'static str),
    /// A word that is the value of a field: `(field, word)`.
    Word(&'static str, &'static str),
}

/// A part of the language.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    of: &'static [&'static str],
    what: What,
    life: Life,
}

/// When a part is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// From this release on.
    Since(Version),
    /// Up to this release.
    Until(Version),
    /// Up to some release under this name.
    Renamed(Renamed),
}

/// The later name of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Renamed {
    /// The first release that has it.
    pub(crate) since: Version,
    /// The name.
    pub(crate) new: &'static str,
    /// What else is different.
    pub(crate) change: Change,
}

/// What is different about a part that was renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The name alone.
    Name,
    /// The value is a list now.
    List,
    /// A name in the value, too.
    Inside(&'static str),
}

/// The use of a part in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    path: FieldPath,
    part: &'static Part,
}

/// The last release that followed file descriptors.
pub(crate) const LAST_WITH_DESCRIPTORS: Version = Version::new(1, 7);

const CALLS: &[&str] = &[Section::Kprobes.name(), Section::Fentries.name(), Section::Uprobes.name()];
const TRACEPOINTS: &[&str] = &[Section::Tracepoints.name()];
const UPROBES: &[&str] = &[Section::Uprobes.name()];
const FILTERS: &[&str] = &["matchArgs", "matchData", "matchReturnArgs"];
const PROGRAMS: &[&str] = &["matchBinaries", "matchParentBinaries"];
const ACTIONS: &[&str] = &Selector::ACTION_FIELDS;
const ARGS: &[&str] = &["args", "data", "returnArg"];

const fn field(minor: u8, of: &'static [&'static str], name: &'static str) -> Part {
    Part { of, what: What::Field(name), life: Life::Since(Version::new(1, minor)) }
}

const fn operator(minor: u8, of: &'static [&'static str], operator: Operator) -> Part {
    Part { of, what: What::Word("operator", operator.name()), life: Life::Since(Version::new(1, minor)) }
}

const fn ty(minor: u8, ty: ArgType) -> Part {
    Part { of: ARGS, what: What::Word("type", ty.name()), life: Life::Since(Version::new(1, minor)) }
}

const fn action(minor: u8, action: ActionKind) -> Part {
    Part { of: ACTIONS, what: What::Word("action", action.name()), life: Life::Since(Version::new(1, minor)) }
}

const fn until(last: Version, what: What) -> Part {
    Part { of: ACTIONS, what, life: Life::Until(last) }
}

/// Tetragon 1.1 is the only release that renamed parts.
const fn renamed(of: &'static [&'static str], what: What, new: &'static str, change: Change) -> Part {
    Part { of, what, life: Life::Renamed(Renamed { since: Version::new(1, 1), new, change }) }
}

/// Every such part, from the history of Tetragon's `CustomResourceDefinition`.
static PARTS: &[Part] = &[
    field(2, &["spec"], Section::LsmHooks.name()),
    field(2, PROGRAMS, "followChildren"),
    operator(2, PROGRAMS, Operator::Postfix),
    operator(2, PROGRAMS, Operator::NotPostfix),
    field(3, ACTIONS, "imaHash"),
    ty(3, ArgType::BpfCmd),
    action(3, ActionKind::CleanupEnforcerNotification),
    field(4, ARGS, "resolve"),
    ty(4, ArgType::Dentry),
    ty(4, ArgType::Sockaddr),
    ty(4, ArgType::Socket),
    field(5, FILTERS, "args"),
    operator(5, FILTERS, Operator::CapabilitiesGained),
    field(5, CALLS, "ignore"),
    field(5, TRACEPOINTS, "raw"),
    field(5, UPROBES, "offsets"),
    field(5, UPROBES, "refCtrOffsets"),
    field(6, &["spec"], Section::Usdts.name()),
    field(6, UPROBES, "addrs"),
    field(6, &[Section::Kprobes.name(), Section::Fentries.name()], "data"),
    field(6, ARGS, "source"),
    field(6, ARGS, "btfType"),
    field(6, &["selectors"], "matchData"),
    field(6, ACTIONS, "argRegs"),
    operator(6, FILTERS, Operator::InRange),
    operator(6, FILTERS, Operator::NotInRange),
    ty(6, ArgType::BpfProg),
    action(6, ActionKind::Set),
    field(7, &["spec"], Section::Fentries.name()),
    field(7, &["spec"], "hostSelector"),
    field(7, &["spec"], "selectorsMacros"),
    field(7, &["selectors"], "macros"),
    field(7, &["selectors"], "matchParentBinaries"),
    field(7, UPROBES, "btfPath"),
    field(7, UPROBES, "data"),
    field(7, UPROBES, "return"),
    field(7, UPROBES, "returnArg"),
    operator(7, FILTERS, Operator::CelExpr),
    operator(7, FILTERS, Operator::FileType),
    operator(7, FILTERS, Operator::NotFileType),
    operator(7, FILTERS, Operator::SubString),
    operator(7, FILTERS, Operator::SubStringIgnCase),
    ty(7, ArgType::SockaddrUn),
    field(8, &["spec"], "nodeSelector"),
    field(8, &["selectors"], "label"),
    field(8, &["selectors"], "matchWorkloads"),
    field(8, UPROBES, "binaryDigests"),
    field(8, ARGS, "btfTypeModule"),
    field(8, ACTIONS, "argNewSymbol"),
    field(8, ACTIONS, "argNewAddr"),
    field(8, ACTIONS, "argNewOffset"),
    until(LAST_WITH_DESCRIPTORS, What::Word("action", ActionKind::FollowFD.name())),
    until(LAST_WITH_DESCRIPTORS, What::Word("action", ActionKind::UnfollowFD.name())),
    until(LAST_WITH_DESCRIPTORS, What::Word("action", ActionKind::CopyFD.name())),
    until(LAST_WITH_DESCRIPTORS, What::Field("argFd")),
    until(LAST_WITH_DESCRIPTORS, What::Field("argName")),
    renamed(&["spec"], What::Field("killers"), "enforcers", Change::Inside("calls")),
    renamed(&["killers"], What::Field("syscalls"), "calls", Change::Name),
    renamed(ACTIONS, What::Word("action", "NotifyKiller"), ActionKind::NotifyEnforcer.name(), Change::Name),
    renamed(ACTIONS, What::Field("stackTrace"), "kernelStackTrace", Change::Name),
    renamed(UPROBES, What::Field("symbol"), "symbols", Change::List),
];

impl Part {
    /// The releases that don't have it.
    const fn missing(&self) -> Versions {
        match self.life {
            Life::Since(first) => Versions::up_to(first.before()),
            Life::Until(last) => Versions::from(last.after()),
            Life::Renamed(renamed) => Versions::from(renamed.since),
        }
    }

    /// Whether a member of an object is it. `of` is the name of the field that holds the object.
    fn is(&self, of: &str, name: &str, value: &Node) -> bool {
        let written = match self.what {
            What::Field(field) => field == name,
            What::Word(field, word) => field == name && value.as_str() == Some(word),
        };
        written && self.of.contains(&of)
    }

    fn message(&self) -> String {
        let (name, effect) = match self.what {
            What::Field(name) => (name, "silently drop it, which changes what the policy means"),
            What::Word(_, word) => (word, "reject the policy"),
        };
        match self.life {
            Life::Since(first) => {
                format!("`{name}` was added in Tetragon {first}; earlier versions {effect}")
            }
            Life::Until(last) => {
                format!("`{name}` was removed after Tetragon {last}; later versions {effect}")
            }
            Life::Renamed(Renamed { since, new, .. }) => {
                format!(
                    "`{name}` was renamed to `{new}` in Tetragon {since}; this and later versions {effect}"
                )
            }
        }
    }
}

impl Use {
    /// That it is a mistake for the releases that don't have the part.
    pub fn diagnostic(&self) -> Diagnostic {
        let diagnostic = Diagnostic::new(&NOT_IN_VERSION, self.path.clone(), self.part.message())
            .targets(Targets::tetragon(self.part.missing()));
        let diagnostic = match self.part.what {
            What::Field(_) => diagnostic.at_key(),
            What::Word(..) => diagnostic,
        };
        match self.renamed() {
            Some(renamed) => self.rewritten(diagnostic, renamed),
            None => diagnostic,
        }
    }

    /// Where it is in the text.
    pub(crate) const fn path(&self) -> &FieldPath {
        &self.path
    }

    /// Whether the part is a field, not a word that is the value of one.
    pub(crate) const fn is_field(&self) -> bool {
        matches!(self.part.what, What::Field(_))
    }

    /// The part's name.
    pub(crate) const fn name(&self) -> &'static str {
        match self.part.what {
            What::Field(name) | What::Word(_, name) => name,
        }
    }

    /// Whether later releases don't have the part, under this name or at all.
    pub(crate) const fn is_removed(&self) -> bool {
        matches!(self.part.life, Life::Until(_) | Life::Renamed(_))
    }

    /// The name that later releases have for the part.
    pub(crate) const fn renamed(&self) -> Option<Renamed> {
        match self.part.life {
            Life::Renamed(renamed) => Some(renamed),
            Life::Since(_) | Life::Until(_) => None,
        }
    }

    /// Adds what to write instead of an older name: as an edit, where the name is all that changed.
    pub(crate) fn rewritten(&self, diagnostic: Diagnostic, renamed: Renamed) -> Diagnostic {
        let new = renamed.new;
        let title = match renamed.change {
            Change::Name => format!("write `{new}`"),
            Change::List => format!("write `{new}`, with the value as a list"),
            Change::Inside(inner) => format!("write `{new}`, with `{inner}` in its entry"),
        };
        if renamed.change != Change::Name {
            return diagnostic.help(title);
        }
        let edit = if self.is_field() { Edit::Rename(new.to_owned()) } else { Edit::Replace(new.to_owned()) };
        diagnostic.fix(Fix { title, path: self.path.clone(), edit, safe: true })
    }

    /// The programs that it is a mistake for.
    pub const fn targets(&self) -> Targets {
        Targets::tetragon(self.part.missing())
    }

    /// Whether it is inside of another one.
    pub fn is_inside(&self, other: &Self) -> bool {
        self.path.0.starts_with(&other.path.0)
    }
}

/// The parts that a policy uses, in the order of the text.
pub fn uses(object: &Node) -> Vec<Use> {
    let mut found = Vec::new();
    if let Some(spec) = object.get("spec") {
        walk(spec, "spec", &mut vec![Step::Field("spec".into())], &mut found);
    }
    found
}

/// Goes through a value. `of` is the name of the field that holds it, `path` its place.
fn walk(node: &Node, of: &str, path: &mut Vec<Step>, found: &mut Vec<Use>) {
    match &node.value {
        Value::Map(entries) => {
            // The API server takes a member that is null for none.
            for entry in entries.iter().filter(|entry| entry.value.value != Value::Null) {
                path.push(Step::Field(entry.key.as_str().into()));
                if let Some(part) = PARTS.iter().find(|part| part.is(of, &entry.key, &entry.value)) {
                    found.push(Use { path: FieldPath(path.clone()), part });
                }
                // A macro is a selector under a name of its own.
                let inner = if of == "selectorsMacros" { "selectors" } else { &entry.key };
                walk(&entry.value, inner, path, found);
                path.pop();
            }
        }
        Value::Seq(items) => {
            for (i, item) in items.iter().enumerate() {
                path.push(Step::Index(i));
                walk(item, of, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{source::parse, target::Target};

    /// What a version of Tetragon has against a policy.
    fn against(minor: u8, spec: &str) -> Vec<String> {
        let target = Target::Tetragon(Version::new(1, minor));
        let uses = uses(&parse(&format!("spec: {spec}"))[0].root);
        let uses = uses.iter().filter(|part| part.targets().contain(target));
        uses.map(|part| part.path.to_string()).collect()
    }

    #[test]
    fn parts_appear() {
        let spec = "{lsmhooks: [{hook: f, selectors: [{matchArgs: [{index: 0, operator: SubString, values: [a]}]}]}]}";
        assert_eq!(
            against(1, spec),
            ["spec.lsmhooks", "spec.lsmhooks[0].selectors[0].matchArgs[0].operator"]
        );
        assert_eq!(against(6, spec), ["spec.lsmhooks[0].selectors[0].matchArgs[0].operator"]);
        assert_eq!(against(7, spec), [""; 0]);
        let types = "{kprobes: [{args: [{index: 0, type: dentry}], returnArg: {index: 0, type: bpf_prog}}]}";
        assert_eq!(against(3, types), ["spec.kprobes[0].args[0].type", "spec.kprobes[0].returnArg.type"]);
        assert_eq!(against(5, types), ["spec.kprobes[0].returnArg.type"]);
    }

    #[test]
    fn parts_vanish() {
        let spec = "{kprobes: [{selectors: [{matchActions: [{action: FollowFD, argFd: 0, argName: 1}]}]}]}";
        assert_eq!(against(7, spec), [""; 0]);
        let at = |field| format!("spec.kprobes[0].selectors[0].matchActions[0].{field}");
        assert_eq!(against(8, spec), [at("action"), at("argFd"), at("argName")]);
    }

    #[test]
    fn a_name_counts_in_its_place_alone() {
        // `label` of an argument is older than that of a selector, and a label of a pod may be called anything.
        let spec = "{kprobes: [{args: [{index: 0, label: a}]}], podSelector: {matchLabels: {usdts: a, data: b}}, \
                    usdts: null}";
        assert_eq!(against(1, spec), [""; 0]);
        assert_eq!(
            against(6, "{selectorsMacros: {m: {matchParentBinaries: []}}}"),
            ["spec.selectorsMacros", "spec.selectorsMacros.m.matchParentBinaries"]
        );
    }

    #[test]
    fn what_is_wrong_names_the_version() {
        let uses = uses(&parse("spec: {usdts: []}")[0].root);
        let diagnostic = uses[0].diagnostic();
        assert!(diagnostic.message.starts_with("`usdts` was added in Tetragon 1.6"), "{diagnostic}");
        assert!(diagnostic.is_error() && !diagnostic.stops_gatewatch());
    }
}
