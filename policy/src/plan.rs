//! A plan: a policy compiled for one kernel. What is written in a policy as text is here as values: integers as
//! sets of ranges, addresses as networks, names as numbers, and the function as the symbol that this kernel has.
//!
//! [`evaluate`](crate::evaluate) defines what a plan means; [`match_tables`](crate::match_tables) turns the plans of all
//! policies on one function into the tables of the BPF programs.

mod actions;
mod fields;

use crate::{diagnostic::FieldPath, model::ArgType};

pub use self::{
    actions::{ActionPlan, RateScope, RecordPlan, SIGKILL},
    fields::{Field, SocketPart, Way, WayFrom, WayRead},
};
pub use crate::{
    hook_point::{HookPoint, ProgramAddress, When},
    scope::{PodScope, Scope},
};

/// A policy compiled for one kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The policy's name.
    pub name: String,
    /// Its namespace, for a namespaced one.
    pub namespace: Option<String>,
    /// Whom it watches.
    pub scope: Scope,
    /// What it watches.
    pub hooks: Vec<HookPlan>,
    /// Whether hooks are left out because this kernel lacks their functions, and the policy says to ignore that.
    pub partial: bool,
    /// Whether it only monitors, by its option `policy-mode`.
    pub monitor_mode: bool,
}

impl Plan {
    /// Whether it has actions that can be performed.
    pub fn enforces(&self) -> bool {
        self.hooks.iter().any(HookPlan::enforces)
    }

    /// Whether it has actions that are not performed.
    pub fn monitors(&self) -> bool {
        let mut selectors = self.hooks.iter().flat_map(|hook| &hook.selectors);
        selectors.any(|selector| selector.actions.monitored)
    }
}

/// One hook of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct HookPlan {
    /// Where it attaches.
    pub point: HookPoint,
    /// Where it is in the policy: `spec.kprobes[3]`.
    pub origin: FieldPath,
    /// The arguments that it declares, in the order of the policy.
    pub args: Vec<ArgPlan>,
    /// In the order of the policy; the first that matches takes the event.
    pub selectors: Vec<SelectorPlan>,
    /// What a record of its events has beside the arguments.
    pub evidence: Evidence,
}

/// What a record of a hook's event has beside the values of its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// `message` of the hook.
    pub message: Option<String>,
    /// `tags` of the hook.
    pub tags: Vec<String>,
    /// One for each of the hook's `args`.
    pub args: Vec<ArgEvidence>,
    /// The type of the result, if the policy declares it.
    pub result: Option<ArgType>,
}

/// How an argument is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArgEvidence {
    /// `label` of the argument.
    pub label: Option<String>,
    /// The argument, from 0, that has the number of its bytes (`sizeArgIndex`).
    pub size: Option<u32>,
    /// Whether nothing can be read: this function does not have it, or the policy says how in a way that does not run here.
    pub unread: bool,
    /// Whether it is a pointer into the program's memory.
    pub user: bool,
}

impl HookPlan {
    /// Whether a selector has actions that can be performed.
    pub fn enforces(&self) -> bool {
        self.selectors.iter().any(|selector| selector.actions.enforces())
    }

    /// Whether a selector makes the call return an error.
    pub fn overrides(&self) -> bool {
        self.selectors.iter().any(|selector| selector.actions.error.is_some())
    }
}

/// One argument that a hook declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgPlan {
    /// Its place among the arguments of the point, from 0.
    pub index: u32,
    /// As what it is read.
    pub ty: ArgType,
}

/// One selector: matches when all filters do.
#[derive(Clone, Debug, PartialEq)]
pub struct SelectorPlan {
    /// Filters; none matches every event.
    pub filters: Vec<Filter>,
    /// What is done with an event that it takes.
    pub actions: ActionPlan,
}

/// One condition on one field of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// The field that is read.
    pub field: Field,
    /// What must hold. A negated test holds where the field has no value; any other one doesn't.
    pub test: Test,
}

/// What must hold for a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// An integer in (or, negated, in none of) these inclusive ranges, sorted and disjoint.
    Int {
        /// Holds where it isn't in the ranges.
        negated: bool,
        /// Inclusive.
        ranges: Vec<(i128, i128)>,
    },
    /// An integer that shares a bit with the mask (or, negated, none).
    Mask {
        /// Holds where no bit is shared.
        negated: bool,
        /// The bits.
        mask: u64,
    },
    /// A string that equals, begins with or ends with one of these.
    Text {
        /// Holds where none of them does.
        negated: bool,
        /// How to compare.
        op: TextOp,
        /// Not empty, each without a NUL.
        values: Vec<Vec<u8>>,
        /// Only for [`Field::Binary`]: an ancestor's program counts as well as the process's own.
        follow_children: bool,
    },
    /// An address in one of these networks.
    Address {
        /// Holds where it is in none of them.
        negated: bool,
        /// IPv4 networks are `::ffff:a.b.c.d/96+n`.
        networks: Vec<Network>,
    },
}

/// How strings are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextOp {
    /// The whole string.
    Equal,
    /// Its beginning.
    Prefix,
    /// Its end.
    Postfix,
}

/// A network of IPv6 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    /// The address, host bits 0.
    pub address: [u8; 16],
    /// Bits that count, 0 to 128.
    pub prefix: u8,
}
