//! The modes of diagnostics: the modes table, one `ConfigMap` of the cluster's operator.
//!
//! ```yaml
//! target: tetragon=1.6      # whose findings count: gatewatch, tetragon, tetragon=VERSION, or a list of them
//! modes:
//!   GW208: off              # one code
//!   GW1xx: audit            # a group
//! namespaces:
//!   payments:
//!     GW106: deny           # a likely typo is rejected here
//!     "*": warn             # all others
//! exempt:
//!   users: ["system:serviceaccount:backup:restore"]
//!   groups: ["break-glass"]
//!   namespaces: ["sandbox"]
//! ```
//!
//! Entries of the object's namespace come before entries for all namespaces, and narrow ones before wide ones: code,
//! group, `*`. Without an entry, the severity decides: errors deny, warnings warn, notes are in the audit log. Without
//! `target`, policies are checked for Gatewatch, and findings about Tetragon alone are notes. Exemptions exist only in
//! this table, not on objects, so no user can exempt himself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use gatewatch_policy::{
    codes,
    diagnostic::{Diagnostic, Severity},
    selection::Selection,
    target::{BadTarget, Target},
};
use serde::Deserialize;

use crate::review::User;

/// The key of the `ConfigMap` that holds the modes.
pub const DATA_KEY: &str = "modes.yaml";

/// What the webhook does about a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Nothing.
    Off,
    /// It is in the audit log and the metrics.
    Audit,
    /// The user receives a warning.
    Warn,
    /// The object is rejected.
    Deny,
}

impl Mode {
    const ALL: [Self; 4] = [Self::Off, Self::Audit, Self::Warn, Self::Deny];

    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Audit => "audit",
            Self::Warn => "warn",
            Self::Deny => "deny",
        }
    }

    const fn default_for(severity: Severity) -> Self {
        match severity {
            Severity::Error => Self::Deny,
            Severity::Warning => Self::Warn,
            Severity::Note => Self::Audit,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The modes table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    selection: Selection,
    everywhere: Table,
    namespaces: BTreeMap<String, Table>,
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
    exempt_namespaces: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    codes: BTreeMap<String, Mode>,
    /// By the digit after `GW`.
    groups: BTreeMap<char, Mode>,
    all: Option<Mode>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModes {
    #[serde(default)]
    target: RawTargets,
    #[serde(default)]
    modes: BTreeMap<String, RawMode>,
    #[serde(default)]
    namespaces: BTreeMap<String, BTreeMap<String, RawMode>>,
    #[serde(default)]
    exempt: Exempt,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exempt {
    #[serde(default)]
    users: BTreeSet<String>,
    #[serde(default)]
    groups: BTreeSet<String>,
    #[serde(default)]
    namespaces: BTreeSet<String>,
}

/// The targets as written in the file.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawTargets {
    One(String),
    Several(Vec<String>),
}

impl Default for RawTargets {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl RawTargets {
    fn read(self) -> Result<Selection, ModesError> {
        let words = match self {
            // A chart value that is not set is empty.
            Self::One(word) if word.is_empty() => Vec::new(),
            Self::One(word) => vec![word],
            Self::Several(words) => words,
        };
        let targets: Result<Vec<Target>, BadTarget> = words.iter().map(|word| word.parse()).collect();
        Ok(Selection::of(&targets?))
    }
}

/// A mode as written in the file. In YAML 1.1 a bare `off` is false.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawMode {
    Flag(bool),
    Text(String),
}

/// The reason why a modes table is invalid. Each is a sentence.
#[derive(Debug, thiserror::Error)]
pub enum ModesError {
    /// It is not YAML, or has unknown fields.
    #[error("cannot read the modes: {0}")]
    Form(String),
    /// A target does not exist.
    #[error("target: {0}")]
    Target(#[from] BadTarget),
    /// A mode does not exist.
    #[error("{place}: invalid mode {word:?}: expected off, audit, warn or deny")]
    Mode {
        /// Path in the table.
        place: String,
        /// The text at this path.
        word: String,
    },
    /// A code does not exist.
    #[error(
        "{place}: unknown code or group {code:?}: expected a code such as GW106, a group such as GW1xx, or \"*\" for \
         all"
    )]
    Code {
        /// Path in the table.
        place: String,
        /// The text at this path.
        code: String,
    },
}

impl Modes {
    /// Parses a modes table.
    pub fn parse(text: &str) -> Result<Self, ModesError> {
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let written: RawModes =
            serde_saphyr::from_str(text).map_err(|error| ModesError::Form(error.to_string()))?;
        let mut namespaces = BTreeMap::new();
        for (namespace, entries) in written.namespaces {
            let place = format!("namespaces.{namespace}");
            namespaces.insert(namespace, Table::read(entries, &place)?);
        }
        let Exempt { users, groups, namespaces: exempt_namespaces } = written.exempt;
        let everywhere = Table::read(written.modes, "modes")?;
        Ok(Self {
            selection: written.target.read()?,
            everywhere,
            namespaces,
            users,
            groups,
            exempt_namespaces,
        })
    }

    /// The programs that policies are checked for.
    pub const fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The mode for a diagnostic about an object of this namespace (`None`: cluster-scoped).
    pub fn of(&self, diagnostic: &Diagnostic, namespace: Option<&str>) -> Mode {
        let id = diagnostic.code.id;
        let special = namespace.and_then(|namespace| self.namespaces.get(namespace)).and_then(|t| t.of(id));
        special.or_else(|| self.everywhere.of(id)).unwrap_or(Mode::default_for(diagnostic.severity))
    }

    /// The reason why requests of this user in this namespace are exempt, if they are.
    pub fn exemption(&self, user: &User, namespace: Option<&str>) -> Option<String> {
        if self.users.contains(&user.username) {
            return Some(format!("user {}", user.username));
        }
        if let Some(group) = user.groups.iter().find(|group| self.groups.contains(*group)) {
            return Some(format!("group {group}"));
        }
        namespace
            .filter(|namespace| self.exempt_namespaces.contains(*namespace))
            .map(|namespace| format!("namespace {namespace}"))
    }
}

impl Table {
    fn read(entries: BTreeMap<String, RawMode>, place: &str) -> Result<Self, ModesError> {
        let mut table = Self::default();
        for (code, word) in entries {
            let place = format!("{place}.{code}");
            let mode = mode(word, &place)?;
            match code.as_bytes() {
                b"*" => table.all = Some(mode),
                [b'G', b'W', digit @ b'0'..=b'9', b'x', b'x'] => {
                    table.groups.insert(char::from(*digit), mode);
                }
                _ if codes::ALL.iter().any(|known| known.id == code) => {
                    table.codes.insert(code, mode);
                }
                _ => return Err(ModesError::Code { place, code }),
            }
        }
        Ok(table)
    }

    fn of(&self, id: &str) -> Option<Mode> {
        let group = id.chars().nth(2);
        let in_group = || group.and_then(|digit| self.groups.get(&digit));
        self.codes.get(id).or_else(in_group).copied().or(self.all)
    }
}

fn mode(word: RawMode, place: &str) -> Result<Mode, ModesError> {
    let text = match word {
        RawMode::Flag(false) => return Ok(Mode::Off),
        RawMode::Flag(true) => "true".to_owned(),
        RawMode::Text(text) => text,
    };
    let known = Mode::ALL.into_iter().find(|mode| mode.name() == text);
    known.ok_or_else(|| ModesError::Mode { place: place.to_owned(), word: text })
}

#[cfg(test)]
mod tests {
    use gatewatch_policy::{
        codes::{BAD_LABEL_KEY, EXEC_CALLER, HOT_HOOK, NAMESPACE_IGNORED},
        diagnostic::FieldPath,
    };

    use super::*;

    const TABLE: &str = "
modes:
  GW1xx: audit
  GW105: off
namespaces:
  pay:
    GW105: deny
    '*': warn
exempt:
  users: [root]
  groups: [ops]
  namespaces: [sandbox]
";

    #[test]
    fn narrower_entries_come_first_and_those_of_the_namespace() {
        let modes = Modes::parse(TABLE).unwrap();
        let of = |code, namespace| modes.of(&Diagnostic::new(code, FieldPath::root(), "m"), namespace);
        assert_eq!(of(&NAMESPACE_IGNORED, None), Mode::Off);
        assert_eq!(of(&NAMESPACE_IGNORED, Some("other")), Mode::Off);
        assert_eq!(of(&NAMESPACE_IGNORED, Some("pay")), Mode::Deny);
        assert_eq!(of(&BAD_LABEL_KEY, None), Mode::Audit);
        assert_eq!(of(&BAD_LABEL_KEY, Some("pay")), Mode::Warn);
        // Without an entry, the severity decides.
        assert_eq!(of(&HOT_HOOK, None), Mode::Warn);
        assert_eq!(of(&EXEC_CALLER, None), Mode::Audit);
        assert_eq!(of(&codes::NO_HOOK, None), Mode::Deny);
    }

    #[test]
    fn exemptions() {
        let modes = Modes::parse(TABLE).unwrap();
        let user = |name: &str, group: &str| User { username: name.into(), groups: vec![group.into()] };
        assert_eq!(modes.exemption(&user("root", ""), None).as_deref(), Some("user root"));
        assert_eq!(modes.exemption(&user("me", "ops"), None).as_deref(), Some("group ops"));
        assert_eq!(
            modes.exemption(&user("me", "dev"), Some("sandbox")).as_deref(),
            Some("namespace sandbox")
        );
        assert_eq!(modes.exemption(&user("me", "dev"), Some("pay")), None);
    }

    #[test]
    fn targets_are_read() {
        let chosen = |text: &str| Modes::parse(text).unwrap().selection().clone();
        let [gatewatch, old] = ["gatewatch", "tetragon=1.4"].map(|word| word.parse::<Target>().unwrap());
        assert_eq!(chosen(""), Selection::default());
        assert_eq!(chosen("target: ''"), Selection::default());
        assert_eq!(chosen("target: tetragon=1.4"), Selection::of(&[old]));
        assert_eq!(chosen("target: [gatewatch, tetragon=1.4]"), Selection::of(&[gatewatch, old]));
    }

    #[test]
    fn a_bad_table_is_refused_with_a_reason() {
        let error = |text: &str| Modes::parse(text).unwrap_err().to_string();
        assert!(error("modes: {GW105: maybe}").contains("modes.GW105: invalid mode \"maybe\""));
        assert!(error("namespaces: {pay: {GW999: off}}").contains("namespaces.pay.GW999: unknown code"));
        assert!(error("mode: {GW105: off}").contains("mode"));
        assert!(error("target: tetragon=0.9").contains("target: unknown version \"0.9\""));
        assert!(error("target: falco").contains("expected gatewatch, tetragon or tetragon=VERSION"));
        assert!(error("- a").contains("cannot read"));
        assert!(error("modes: {GW105: on}").contains("invalid mode"));
        assert_eq!(Modes::parse("").unwrap(), Modes::default());
        assert_eq!(Modes::parse("# nothing\n").unwrap(), Modes::default());
    }
}
