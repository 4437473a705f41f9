//! Modes of enforcement: what policies may do on this node, and who says so.
//!
//! Four things restrict a policy: its own option `policy-mode`, the mode of the agent's command line, the settings of a file
//! or of the cluster's `ConfigMap`, and a label of the node. The strictest one holds. The kernel has a switch for the node and
//! one for each selector, so none of them needs a program to be loaded again.

use std::{collections::BTreeMap, fmt, str::FromStr};

use gatewatch_abi::consts::{MODE_ENFORCE, MODE_MONITOR, MODE_OFF};

use crate::policy_key::PolicyKey;

/// The label of a node that restricts it.
pub const NODE_LABEL: &str = "gatewatch.dev/enforcement";
/// The key of the settings that holds for all policies.
pub const ALL: &str = "enforcement";
/// What the keys of single policies begin with: `policy_NAME`, or `policy_NAMESPACE_NAME`. No name has an underscore.
pub const OF_POLICY: &str = "policy_";

/// What a policy may do. The order is that of strictness: `Off` restricts most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Actions are neither performed nor counted.
    Off,
    /// Actions are counted.
    Monitor,
    /// Actions are performed.
    #[default]
    Enforce,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Monitor, Self::Enforce];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Monitor => "monitor",
            Self::Enforce => "enforce",
        }
    }

    /// As the BPF programs read it.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Off => MODE_OFF,
            Self::Monitor => MODE_MONITOR,
            Self::Enforce => MODE_ENFORCE,
        }
    }

    /// The mode of a number that [`number`](Self::number) gave. Any other one is `Off`, as for the BPF programs.
    pub(crate) fn of_number(number: u32) -> Self {
        Self::ALL.into_iter().find(|mode| mode.number() == number).unwrap_or(Self::Off)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An invalid word.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid enforcement mode {0:?}: expected off, monitor or enforce")]
pub struct NotAMode(String);

impl FromStr for Mode {
    type Err = NotAMode;

    fn from_str(text: &str) -> Result<Self, NotAMode> {
        let mode = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        mode.ok_or_else(|| NotAMode(text.to_owned()))
    }
}

/// Settings of a file, or of the cluster's `ConfigMap`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// For all policies.
    pub all: Mode,
    /// For single policies.
    pub policies: BTreeMap<PolicyKey, Mode>,
    /// What is wrong with them, in sentences.
    pub problems: Vec<String>,
}

impl Settings {
    /// Reads keys and values. An invalid value is taken for `monitor`: whoever wrote it wanted a restriction, and no
    /// process is to be stopped in doubt.
    pub fn read(data: &BTreeMap<String, String>) -> Self {
        let mut settings = Self::default();
        for (key, value) in data {
            let problems = &mut settings.problems;
            let mut mode = || {
                value.trim().parse().unwrap_or_else(|error| {
                    problems.push(format!("`{key}`: {error}; taken for `monitor`"));
                    Mode::Monitor
                })
            };
            if key == ALL {
                settings.all = mode();
            } else if let Some(name) = key.strip_prefix(OF_POLICY) {
                settings.policies.insert(policy_of(name), mode());
            }
        }
        settings
    }

    /// Reads a file: lines of `KEY: VALUE`. Blank lines and those that begin with `#` have no meaning.
    pub fn parse(text: &str) -> Self {
        let mut data = BTreeMap::new();
        let mut problems = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once(':') {
                Some((key, value)) => {
                    let value = value.trim().trim_matches(['"', '\'']);
                    data.insert(key.trim().to_owned(), value.to_owned());
                }
                None => problems.push(format!("line {number}: expected `KEY: VALUE`, found {line:?}")),
            }
        }
        let mut settings = Self::read(&data);
        if !problems.is_empty() {
            // The line may have been meant to switch enforcement off.
            settings.all = settings.all.min(Mode::Monitor);
            settings.problems.extend(problems);
        }
        settings
    }
}

fn policy_of(name: &str) -> PolicyKey {
    match name.split_once('_') {
        Some((namespace, name)) => PolicyKey { namespace: Some(namespace.to_owned()), name: name.to_owned() },
        None => PolicyKey { namespace: None, name: name.to_owned() },
    }
}

/// All restrictions of this node beside the policies' own.
#[derive(Clone, Debug, Default)]
pub struct Restrictions {
    /// Of the command line.
    pub own: Mode,
    /// Of a file or the `ConfigMap`. `None`: they aren't known yet.
    pub settings: Option<Settings>,
    /// Of the node's label.
    pub label: Mode,
}

impl Restrictions {
    /// What holds for all policies of the node.
    pub fn node(&self) -> Mode {
        let settings = self.settings.as_ref().map_or(Mode::Enforce, |settings| settings.all);
        self.own.min(settings).min(self.label)
    }

    /// What holds for one policy beside that.
    pub fn policy(&self, key: &PolicyKey) -> Mode {
        let settings = self.settings.as_ref();
        settings.and_then(|settings| settings.policies.get(key)).copied().unwrap_or_default()
    }

    /// Takes the mode of the node's label. Gives what is wrong with it.
    pub fn set_label(&mut self, labels: Option<&BTreeMap<String, String>>) -> Option<String> {
        let Some(text) = labels.and_then(|labels| labels.get(NODE_LABEL)) else {
            self.label = Mode::Enforce;
            return None;
        };
        let parsed: Result<Mode, _> = text.parse();
        self.label = *parsed.as_ref().unwrap_or(&Mode::Monitor);
        parsed.err().map(|error| format!("the node label {NODE_LABEL}: {error}; taken for `monitor`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: Option<&str>, name: &str) -> PolicyKey {
        PolicyKey { namespace: namespace.map(str::to_owned), name: name.to_owned() }
    }

    #[test]
    fn settings_of_a_file() {
        let text = "# now\nenforcement: monitor\n\npolicy_a.b: \"off\"\npolicy_ns_c: enforce\nother: x\n";
        let settings = Settings::parse(text);
        assert_eq!(settings.all, Mode::Monitor);
        let policies = BTreeMap::from([(key(None, "a.b"), Mode::Off), (key(Some("ns"), "c"), Mode::Enforce)]);
        assert_eq!((settings.policies, settings.problems), (policies, Vec::new()));
        assert_eq!(Settings::parse("").all, Mode::Enforce);
    }

    #[test]
    fn nothing_is_enforced_in_doubt() {
        for text in ["enforcement: of", "enforcement:", "enforcement off"] {
            let settings = Settings::parse(text);
            assert_eq!((settings.all, settings.problems.len()), (Mode::Monitor, 1), "{text}");
        }
        let settings = Settings::parse("policy_a: no");
        assert_eq!((settings.all, settings.policies[&key(None, "a")]), (Mode::Enforce, Mode::Monitor));
        // A line without a meaning never lifts a restriction.
        assert_eq!(Settings::parse("enforcement: off\nx").all, Mode::Off);
    }

    #[test]
    fn the_strictest_holds() {
        let mut restrictions = Restrictions::default();
        assert_eq!(restrictions.node(), Mode::Enforce);
        let label = |value: &str| BTreeMap::from([(NODE_LABEL.to_owned(), value.to_owned())]);
        assert_eq!(restrictions.set_label(Some(&label("monitor"))), None);
        assert_eq!(restrictions.node(), Mode::Monitor);
        restrictions.settings = Some(Settings::parse("enforcement: off\npolicy_a: monitor"));
        assert_eq!(restrictions.node(), Mode::Off);
        assert_eq!(restrictions.policy(&key(None, "a")), Mode::Monitor);
        restrictions.settings = Some(Settings::parse("enforcement: enforce"));
        assert!(restrictions.set_label(Some(&label("none"))).is_some());
        assert_eq!(restrictions.node(), Mode::Monitor, "a label that is no mode");
        assert_eq!(restrictions.set_label(None), None);
        restrictions.own = Mode::Off;
        assert_eq!(restrictions.node(), Mode::Off);
    }

    #[test]
    fn numbers_are_those_of_the_kernel() {
        for mode in Mode::ALL {
            assert_eq!(Mode::of_number(mode.number()), mode);
        }
        assert_eq!(Mode::of_number(77), Mode::Off);
    }
}
