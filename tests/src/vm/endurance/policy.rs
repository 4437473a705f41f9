//! Random policies: their text, and which calls they match.

use std::fmt::Write as _;

use super::{
    calls::{Call, FILES, PORT, VALUES, directory},
    random::Random,
};
use crate::vm::this;

pub(super) const NAMESPACES: [&str; 2] = ["red", "blue"];
pub(super) const ORGS: [&str; 3] = ["a", "b", "c"];
/// Sets of programs whose children are followed: more than a node can follow.
const TOO_MANY: u32 = 65;
/// A hook that every agent rejects.
pub(super) const UNKNOWN_FUNCTION: &str = "  - call: no_such_function\n    syscall: false\n";

/// Whom a policy watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Everything,
    EveryPod,
    /// Pods with this label `org`.
    Org(&'static str),
    /// A namespaced policy.
    Namespace(&'static str),
    /// Every pod's container `main`, which is the only one.
    Main,
}

/// What calls are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Host,
    Pod {
        namespace: &'static str,
        org: &'static str,
    },
    /// A pod that is not in the list: its labels aren't known.
    Unlisted,
}

/// What a hook is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    Uid,
    Gid,
    Chdir,
    /// The result of `chdir`: value 0 is 0, and 1 is ENOENT.
    ChdirResult,
    Read,
    Connect,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hook {
    on: On,
    values: Vec<u32>,
    /// Only this program and what it starts, in a set of programs that has this number.
    followed: Option<u32>,
    /// More selectors that nothing matches.
    filler: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) name: String,
    whom: Whom,
    tag: u32,
    hooks: Vec<Hook>,
}

/// What the kernel here has.
#[derive(Clone, Debug)]
pub(super) struct Offers {
    pub(super) chdir: String,
    /// Whether what a return's program misses can't be much: see `AttachTypes::choose` in the agent.
    pub(super) returns: bool,
}

impl Hook {
    fn random(random: &mut Random, offers: &Offers) -> Self {
        let on = match random.below(if offers.returns { 6 } else { 5 }) {
            0 => On::Uid,
            1 => On::Gid,
            2 => On::Chdir,
            3 => On::Read,
            4 => On::Connect,
            _ => On::ChdirResult,
        };
        let values = match on {
            On::Uid => vec![0],
            On::ChdirResult => vec![random.below(2)],
            _ => {
                let first = random.below(VALUES);
                let second = random.below(VALUES);
                if first == second { vec![first] } else { vec![first, second] }
            }
        };
        let followed = random.percent(15).then(|| random.below(1_000));
        // Encoded, forty are what a hook may have of selectors, whatever they compare.
        let filler = if random.percent(15) { 10 + random.below(30) } else { 0 };
        Self { on, values, followed, filler }
    }

    fn matches(&self, call: Call) -> bool {
        let (on, value) = match call {
            Call::Uid => (On::Uid, 0),
            Call::Gid(value) => (On::Gid, value),
            Call::Chdir(value) if self.on == On::ChdirResult => (On::ChdirResult, value % 2),
            Call::Chdir(value) => (On::Chdir, value),
            Call::Read(value) => (On::Read, value),
            Call::Connect(value) => (On::Connect, value),
        };
        self.on == on && self.values.contains(&value)
    }

    fn symbol<'a>(&self, offers: &'a Offers) -> &'a str {
        match self.on {
            On::Uid => "__sys_setuid",
            On::Gid => "__sys_setgid",
            On::Chdir | On::ChdirResult => &offers.chdir,
            On::Read => "security_file_permission",
            On::Connect => "tcp_connect",
        }
    }

    fn text(&self, tag: u32) -> String {
        let (call, argument, filter, operator) = match self.on {
            On::Uid => ("__sys_setuid", "uint32", "matchArgs", "Equal"),
            On::Gid => ("__sys_setgid", "uint32", "matchArgs", "Equal"),
            On::Chdir => ("sys_chdir", "string", "matchArgs", "Equal"),
            On::ChdirResult => ("sys_chdir", "string", "matchReturnArgs", "Equal"),
            On::Read => ("security_file_permission", "file", "matchArgs", "Prefix"),
            On::Connect => ("tcp_connect", "sock", "matchArgs", "DPort"),
        };
        let value = |value: u32| match self.on {
            On::Uid | On::Gid => value.to_string(),
            On::Chdir => directory(value),
            On::ChdirResult => if value == 0 { "0" } else { "-2" }.to_owned(),
            On::Read => format!("{FILES}/{value}"),
            On::Connect => (u32::from(PORT) + value).to_string(),
        };
        let unwanted = |number: u32| match self.on {
            On::Uid | On::Gid | On::ChdirResult => (100_000 + number).to_string(),
            On::Chdir | On::Read => format!("/filler/{number}"),
            On::Connect => (20_000 + number).to_string(),
        };
        let syscall = matches!(self.on, On::Chdir | On::ChdirResult);
        let mut text = format!(
            "  - call: {call}\n    syscall: {syscall}\n    tags: [t{tag}]\n    args: [{{index: 0, type: {argument}}}]\n"
        );
        if self.on == On::ChdirResult {
            text += "    return: true\n    returnArg: {index: 0, type: int}\n";
        }
        text += "    selectors:\n";
        let values: Vec<String> = self.values.iter().map(|of| format!("\"{}\"", value(*of))).collect();
        let fillers = (0..self.filler).map(|number| format!("\"{}\"", unwanted(number)));
        for values in fillers.chain([values.join(", ")]) {
            let _ =
                writeln!(text, "    - {filter}: [{{index: 0, operator: {operator}, values: [{values}]}}]");
        }
        if let Some(set) = self.followed {
            let _ = writeln!(
                text,
                "      matchBinaries: [{{operator: In, values: [\"{}\", /nowhere/{set}], followChildren: true}}]",
                this().display()
            );
        }
        text
    }
}

impl Spec {
    pub(super) fn random(name: &str, random: &mut Random, offers: &Offers) -> Self {
        let hooks: Vec<Hook> = (0..=random.below(5) / 3).map(|_| Hook::random(random, offers)).collect();
        let mut spec = Self { name: name.to_owned(), whom: Whom::Everything, tag: 0, hooks };
        spec.whom = spec.random_whom(random);
        spec
    }

    /// Others than the host's processes and the pod that call `setuid` all the time.
    fn random_whom(&self, random: &mut Random) -> Whom {
        let uid = self.hooks.iter().any(|hook| hook.on == On::Uid);
        match random.below(if uid { 4 } else { 7 }) {
            0 | 1 => Whom::Org(random.pick(&ORGS)),
            2 | 3 => Whom::Namespace(random.pick(&NAMESPACES)),
            4 => Whom::Everything,
            5 => Whom::EveryPod,
            _ => Whom::Main,
        }
    }

    /// A change as people make it: of tags, of values, of whom it watches, of everything but the name.
    pub(super) fn changed(&self, random: &mut Random, offers: &Offers) -> Self {
        let mut spec = self.clone();
        match random.below(5) {
            0 => spec.tag += 1,
            1 => {
                let hook = random.below(u32::try_from(spec.hooks.len()).expect("few")) as usize;
                let on = spec.hooks[hook].on;
                if !matches!(on, On::Uid | On::ChdirResult) {
                    spec.hooks[hook].values = vec![random.below(VALUES)];
                }
                spec.tag += 1;
            }
            2 => spec.whom = spec.random_whom(random),
            _ => spec = Self::random(&self.name, random, offers),
        }
        spec
    }

    /// The same policy as one that is right, and can't be loaded.
    pub(super) fn too_big(&self) -> Self {
        let on = [On::Uid, On::Gid, On::Read];
        let hook = |(number, on): (u32, &On)| Hook {
            on: *on,
            values: vec![0],
            followed: Some(10_000 + number),
            filler: 0,
        };
        Self { hooks: (0..TOO_MANY).zip(on.iter().cycle()).map(hook).collect(), ..self.clone() }
    }

    pub(super) fn text(&self) -> String {
        let hooks: String = self.hooks.iter().map(|hook| hook.text(self.tag)).collect();
        self.document(&hooks)
    }

    /// The same policy with one hook, on a function that no kernel has.
    pub(super) fn of_unknown_function(&self) -> String {
        self.document(UNKNOWN_FUNCTION)
    }

    fn document(&self, hooks: &str) -> String {
        let kind =
            if let Whom::Namespace(_) = self.whom { "TracingPolicyNamespaced" } else { "TracingPolicy" };
        let namespace = match self.whom {
            Whom::Namespace(namespace) => format!("  namespace: {namespace}\n"),
            _ => String::new(),
        };
        let selector = match self.whom {
            Whom::Everything | Whom::Namespace(_) => String::new(),
            Whom::EveryPod => "  podSelector: {}\n".to_owned(),
            Whom::Org(org) => format!("  podSelector: {{matchLabels: {{org: {org}}}}}\n"),
            Whom::Main => "  containerSelector: {matchLabels: {name: main}}\n".to_owned(),
        };
        format!(
            "apiVersion: cilium.io/v1alpha1\nkind: {kind}\nmetadata:\n  name: {}\n{namespace}spec:\n{selector}  kprobes:\n{hooks}",
            self.name
        )
    }

    pub(super) fn symbols<'a>(&self, offers: &'a Offers) -> Vec<&'a str> {
        self.hooks.iter().map(|hook| hook.symbol(offers)).collect()
    }

    /// For each hook that counts this call, its function.
    pub(super) fn matching<'a>(&self, call: Call, caller: &Caller, offers: &'a Offers) -> Vec<&'a str> {
        if !self.selects(caller) {
            return Vec::new();
        }
        self.hooks.iter().filter(|hook| hook.matches(call)).map(|hook| hook.symbol(offers)).collect()
    }

    fn selects(&self, caller: &Caller) -> bool {
        match (self.whom, caller) {
            (Whom::EveryPod, caller) => *caller != Caller::Host,
            (Whom::Org(of), Caller::Pod { org, .. }) => of == *org,
            (Whom::Namespace(of), Caller::Pod { namespace, .. }) => of == *namespace,
            (Whom::Everything, _) | (Whom::Main, Caller::Pod { .. }) => true,
            (Whom::Org(_) | Whom::Namespace(_) | Whom::Main, _) => false,
        }
    }
}
