//! The match tables of a hook point.

use std::collections::BTreeSet;

use gatewatch_abi::consts::{
    ADDR_NONE, FROM_NOWHERE, INT_ARG, INT_CAPS_GAINED, INT_RETURN, LENGTH_UNKNOWN, MOUNT_OF_ROOT,
    TEXT_BINARY, TEXT_DENTRY, TEXT_FILE, TEXT_NONE, TEXT_PATH, TEXT_UNIX, TYPED_ARG, TYPED_TASK,
    VALUE_NUMBER, VALUE_POINTER,
};
use gatewatch_kernel::{CType, Function, Kind, Param, Pointee, TracepointField, version};
use gatewatch_policy::{
    compile::LSM_PREFIX,
    match_tables::{self, Excess, Tables},
    model::SECURITY_PREFIX,
    plan::HookPoint,
};

use super::{Engine, Member, records};
use crate::{bpf::Lane, policy_key::PolicyKey};

impl Engine {
    /// The tables of a lane.
    pub(super) fn tables(&self, lane: &Lane, members: &[Member]) -> Result<Tables, Excess> {
        let point = &lane.point;
        let policies: Vec<&PolicyKey> = {
            let unique: BTreeSet<&PolicyKey> = members.iter().map(|member| &member.policy).collect();
            unique.into_iter().collect()
        };
        let policy_sets: Vec<Vec<bool>> = self
            .policy_sets
            .iter()
            .map(|policy_set| policies.iter().map(|policy| policy_set.contains(*policy)).collect())
            .collect();
        if lane.many.is_some() {
            // At entries by kprobe and fprobe, no matcher depends on a function's prototype.
            let numbered: Vec<Member> =
                (0..).zip(members).map(|(id, member)| Member { id, ..member.clone() }).collect();
            let hooks = hooks(&numbered, &policies);
            let mut tables = match_tables::build(point, &hooks, &policy_sets, 0)?;
            self.record(point, &hooks, &policies, &mut tables);
            let numbers = |member: &Member| member.points().map(|(id, _)| id).collect();
            tables.at_points(&members.iter().map(numbers).collect::<Vec<_>>());
            return Ok(tables);
        }
        let function = self.prototype(lane);
        let params = function.as_ref().and_then(|function| function.params.clone()).unwrap_or_default();
        let number = u32::try_from(params.len()).unwrap_or(0);
        let hooks = hooks(members, &policies);
        let mut tables = match_tables::build(point, &hooks, &policy_sets, number)?;
        self.record(point, &hooks, &policies, &mut tables);
        if let HookPoint::Tracepoint { subsystem, event } = point {
            let fields = self.profile.tracepoint(subsystem, event).unwrap_or_default();
            by_offset(&mut tables, &fields);
            records::by_offset(&mut tables, &fields);
            return Ok(tables);
        }
        let path = params.iter().position(|param| is_typed(TEXT_PATH, param));
        records::mounts_beside(&mut tables, path.and_then(|path| u32::try_from(path).ok()));
        let typed = if gives_typed_task(&self.profile.release) { TYPED_TASK } else { TYPED_ARG };
        for slot in &mut tables.config.texts {
            // What is at the end of a way has no type for the verifier.
            if slot.way_from != FROM_NOWHERE {
                continue;
            }
            if params.get(slot.arg as usize).is_some_and(|param| is_typed(slot.source, param)) {
                slot.typed = typed;
            }
            if slot.source == TEXT_DENTRY
                && let Some(beside) = params.iter().position(|param| is_typed(TEXT_PATH, param))
            {
                // The kernel's functions on paths have both in one mount: a directory and an entry of it, or the two
                // sides of a rename or link, which never crosses mounts (do_renameat2 and do_linkat, fs/namei.c).
                slot.mount_arg = u32::try_from(beside).unwrap_or(MOUNT_OF_ROOT);
            }
        }
        let is_pointer = |ty: &CType| matches!(ty.kind, Kind::Pointer(_));
        let result = function.as_ref().and_then(|function| function.ret.as_ref());
        for slot in &mut tables.config.ints {
            let pointer = match slot.source {
                // A system call's arguments are read from the caller's registers.
                INT_ARG if !point.is_syscall() => {
                    params.get(slot.arg as usize).is_some_and(|param| is_pointer(&param.ty))
                }
                INT_RETURN => result.is_some_and(is_pointer),
                _ => continue,
            };
            slot.part = if pointer { VALUE_POINTER } else { VALUE_NUMBER };
        }
        Ok(tables)
    }
}

impl Engine {
    /// The function whose arguments the programs of a lane are given.
    fn prototype(&self, lane: &Lane) -> Option<Function> {
        match &lane.point {
            HookPoint::Function { symbol, .. } if Lane::is_overriding(lane.number) => {
                self.profile.function(&format!("{LSM_PREFIX}{}", symbol.strip_prefix(SECURITY_PREFIX)?))
            }
            HookPoint::Lsm { hook } => self.profile.function(&format!("{LSM_PREFIX}{hook}")),
            point => self.profile.function(point.symbol()?),
        }
    }
}

/// Replaces the numbers of a tracepoint's fields by their offsets.
fn by_offset(tables: &mut Tables, fields: &[TracepointField]) {
    let offset = |arg: &mut u32| *arg = fields.get(*arg as usize).map_or(0, |field| field.offset);
    let config = &mut tables.config;
    for slot in &mut config.ints {
        if slot.has_argument() {
            offset(&mut slot.arg);
        }
        if slot.source == INT_CAPS_GAINED {
            offset(&mut slot.part);
        }
    }
    for slot in &mut config.texts {
        if !matches!(slot.source, TEXT_NONE | TEXT_BINARY) && slot.way_from == FROM_NOWHERE {
            offset(&mut slot.arg);
        }
        if slot.source == TEXT_UNIX && slot.len_arg != LENGTH_UNKNOWN {
            offset(&mut slot.len_arg);
        }
    }
    for slot in config.addrs.iter_mut().filter(|slot| slot.source != ADDR_NONE) {
        offset(&mut slot.arg);
    }
}

/// Whether the kernel has the helper `bpf_get_current_task_btf`: since Linux 5.11.
fn gives_typed_task(release: &str) -> bool {
    version(release).is_some_and(|version| version >= (5, 11))
}

/// Whether the verifier, which goes by the function's prototype, knows a file or a path as such.
fn is_typed(source: u32, param: &Param) -> bool {
    let pointee = |tag: &str| matches!(&param.ty.kind, Kind::Pointer(Pointee::Struct(name)) if name == tag);
    match source {
        TEXT_FILE => pointee("file"),
        TEXT_PATH => pointee("path"),
        _ => false,
    }
}

/// A point's members as the matcher's builder takes them. `policies` has every policy among them.
fn hooks<'a>(members: &'a [Member], policies: &[&PolicyKey]) -> Vec<match_tables::Hook<'a>> {
    members
        .iter()
        .map(|member| match_tables::Hook {
            id: member.id,
            policy: policies.iter().position(|policy| **policy == member.policy).unwrap_or(usize::MAX),
            plan: &member.plan,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::gives_typed_task;

    #[test]
    fn kernels_by_their_release() {
        assert!(gives_typed_task("6.12.117+deb13-cloud-amd64") && gives_typed_task("5.11-rc1"));
        assert!(!gives_typed_task("5.10.0-36-cloud-amd64") && !gives_typed_task(""));
    }
}
