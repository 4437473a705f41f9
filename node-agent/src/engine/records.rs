//! What is recorded of events: for the recorder of a lane, and for the thread that reads its records.

use std::{collections::HashMap, sync::Arc};

use gatewatch_abi::record::consts::{AS_DENTRY, AS_FIELD_STRING, AS_NOTHING, AS_STRING, DIRECT};
use gatewatch_kernel::{FieldKind, TracepointField};
use gatewatch_policy::{
    match_tables::{self, Tables},
    model::ArgType,
    plan::{HookPlan, HookPoint},
};

use super::{Engine, Member, members::points};
use crate::{enforcement::Mode, fingerprint::fingerprint, policy_key::PolicyKey};

/// A policy's hook at a point, as records of it need it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedHook {
    /// The policy.
    pub policy: PolicyKey,
    /// Where it is attached.
    pub point: HookPoint,
    /// The hook. Its arguments have the types that are read: none is `auto` whose type is known.
    pub plan: Arc<HookPlan>,
    /// What the policy may do to processes, apart from the mode of the node.
    pub mode: Mode,
}

/// The hooks whose events are recorded, by their numbers.
pub type RecordedHooks = HashMap<u32, RecordedHook>;

impl Engine {
    /// Adds what the recorder of a lane reads to its tables, if events are recorded at all.
    pub(super) fn record(
        &self,
        point: &HookPoint,
        hooks: &[match_tables::Hook<'_>],
        policies: &[&PolicyKey],
        tables: &mut Tables,
    ) {
        let any = || hooks.iter().flat_map(|hook| &hook.plan.selectors).any(|it| it.actions.record.is_some());
        if self.bpf.has_records() && any() {
            // Never 0, which is the number of the budget for processes.
            let of = |hook: &match_tables::Hook<'_>| policies.get(hook.policy).map_or(1, fingerprint) | 1;
            tables.record(point, hooks, of);
        } else {
            tables.without_records();
        }
    }

    /// The hooks that are installed.
    pub fn recorded_hooks(&self) -> RecordedHooks {
        let mut hooks = RecordedHooks::new();
        if !self.bpf.has_records() {
            return hooks;
        }
        for installed in self.installed.values() {
            let points = points(&installed.members);
            for member in &installed.members {
                let plan = Arc::new(self.typed(member));
                for ((id, _), point) in member.points().zip(&points) {
                    let (policy, plan) = (member.policy.clone(), Arc::clone(&plan));
                    let mode = self.mode(&policy, member.monitor_mode);
                    hooks.insert(id, RecordedHook { policy, point: point.clone(), plan, mode });
                }
            }
        }
        hooks
    }

    /// A hook with the types of a tracepoint's own fields.
    fn typed(&self, member: &Member) -> HookPlan {
        let mut plan = member.plan.clone();
        if let HookPoint::Tracepoint { subsystem, event } = &plan.point {
            let fields = self.profile.tracepoint(subsystem, event).unwrap_or_default();
            for arg in plan.args.iter_mut().filter(|arg| arg.ty == ArgType::Auto) {
                if let Some(ty) = fields.get(arg.index as usize).and_then(own_type) {
                    arg.ty = ty;
                }
            }
        }
        plan
    }
}

/// The type of a tracepoint's field that is declared as `auto`.
fn own_type(field: &TracepointField) -> Option<ArgType> {
    Some(match field.kind() {
        FieldKind::Int { bits: 8, signed: true } => ArgType::Int8,
        FieldKind::Int { bits: 8, signed: false } => ArgType::Uint8,
        FieldKind::Int { bits: 16, signed: true } => ArgType::Int16,
        FieldKind::Int { bits: 16, signed: false } => ArgType::Uint16,
        FieldKind::Int { bits: 32, signed: true } => ArgType::Int,
        FieldKind::Int { bits: 32, signed: false } => ArgType::Uint32,
        FieldKind::Int { signed: true, .. } => ArgType::Int64,
        FieldKind::DataLoc => ArgType::String,
        FieldKind::Pointer if field.ty.contains("char") => ArgType::String,
        FieldKind::Int { .. } | FieldKind::Pointer => ArgType::Uint64,
        FieldKind::Array | FieldKind::Other => return None,
    })
}

/// Replaces the numbers of a tracepoint's fields by their offsets.
pub(super) fn by_offset(tables: &mut Tables, fields: &[TracepointField]) {
    for hook in &mut tables.record_hooks {
        for arg in hook.args.iter_mut().take(hook.count as usize) {
            match fields.get(arg.offset as usize) {
                Some(field) => {
                    if field.kind() == FieldKind::DataLoc {
                        arg.class = AS_FIELD_STRING;
                    } else if own_type(field) == Some(ArgType::String) && arg.class != AS_NOTHING {
                        arg.class = AS_STRING;
                    } else if own_type(field).is_none() {
                        arg.class = AS_NOTHING;
                    }
                    arg.offset = field.offset;
                }
                None => arg.class = AS_NOTHING,
            }
            let beside = fields.get(arg.beside as usize).filter(|_| arg.beside != DIRECT);
            arg.beside = beside.map_or(DIRECT, |field| field.offset);
        }
    }
}

/// Says for each directory entry which argument is in the same mount.
pub(super) fn mounts_beside(tables: &mut Tables, beside: Option<u32>) {
    for hook in &mut tables.record_hooks {
        for arg in hook.args.iter_mut().filter(|arg| arg.class == AS_DENTRY) {
            arg.beside = beside.unwrap_or(DIRECT);
        }
    }
}
