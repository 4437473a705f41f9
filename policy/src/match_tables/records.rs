//! What a lane's recorder reads of an event: an entry for each selector, and one for each hook with its arguments.

use gatewatch_abi::{
    RecordArg, RecordBit, RecordHook,
    consts::{ACTION_RECORD, WORD_BITS},
    record::consts::{
        AS_BINPRM, AS_BYTES, AS_DENTRY, AS_FD, AS_FIELD_STRING, AS_FILE, AS_FILENAME, AS_KIOCB, AS_NOTHING,
        AS_NUMBER, AS_PATH, AS_POINTED, AS_SKB, AS_SOCK, AS_SOCKADDR, AS_SOCKET, AS_STRING, AS_SYSCALL,
        DIRECT, RECORD_ARGS, SCOPE_GLOBAL, SCOPE_PROCESS, SCOPE_THREAD,
    },
};

use super::{Hook, Tables};
use crate::{
    model::ArgType,
    plan::{ArgEvidence, ArgPlan, HookPoint, RateScope},
};

/// The value of [`RecordArg::offset`] for the function's result. For an argument it is the argument's index.
pub const RESULT: u32 = u32::MAX - 1;

impl Tables {
    /// Adds what the recorder reads. `hooks` are those that the tables were built from, and `policy` names the policy of each,
    /// whose budget its records take from.
    pub fn record(&mut self, point: &HookPoint, hooks: &[Hook<'_>], policy: impl Fn(&Hook<'_>) -> u64) {
        self.config.records = 1;
        self.record_bits = self
            .actions
            .iter()
            .map(|action| RecordBit {
                siblings: action.siblings,
                hook: action.hook,
                flags: action.flags,
                ..RecordBit::default()
            })
            .collect();
        let mut first = 0;
        for (of, hook) in (0..).zip(hooks) {
            first = super::first_bit(first, hook.plan.selectors.len());
            for (number, selector) in (0..).zip(&hook.plan.selectors) {
                if let (Some(bit), Some(record)) =
                    (self.record_bits.get_mut(first + number as usize), selector.actions.record)
                {
                    bit.of = of;
                    bit.selector = number;
                    bit.rate = record.rate;
                    bit.scope = match record.scope {
                        RateScope::Thread => SCOPE_THREAD,
                        RateScope::Process => SCOPE_PROCESS,
                        RateScope::Global => SCOPE_GLOBAL,
                    };
                }
            }
            first += hook.plan.selectors.len();
            self.record_hooks.push(of_hook(point, hook, policy(hook)));
        }
    }

    /// Takes records out of tables that were built with them: nothing is recorded.
    pub fn without_records(&mut self) {
        for action in self.actions.iter_mut().chain([&mut self.config.only]) {
            action.flags &= !ACTION_RECORD;
        }
    }
}

fn of_hook(point: &HookPoint, hook: &Hook<'_>, policy: u64) -> RecordHook {
    let mut record = RecordHook { policy, ..RecordHook::default() };
    let evidence = &hook.plan.evidence;
    let none = ArgEvidence::default();
    let args = hook
        .plan
        .args
        .iter()
        .enumerate()
        .map(|(i, arg)| of_arg(point, arg, evidence.args.get(i).unwrap_or(&none)));
    let result = evidence.result.map(|ty| {
        let arg = of_arg(point, &ArgPlan { index: RESULT, ty }, &none);
        // The entry's registers are a call's arguments; its result is the function's own.
        RecordArg { within: DIRECT, half: 0, ..arg }
    });
    for (place, arg) in record.args.iter_mut().zip(args.chain(result).take(RECORD_ARGS)) {
        *place = arg;
        record.count += 1;
    }
    record
}

fn of_arg(point: &HookPoint, arg: &ArgPlan, evidence: &ArgEvidence) -> RecordArg {
    let class = if evidence.unread { AS_NOTHING } else { class(arg.ty) };
    RecordArg {
        class,
        offset: arg.index,
        within: if point.is_syscall() { arg.index } else { DIRECT },
        half: u32::from(point.is_ia32()),
        beside: if class == AS_BYTES { evidence.size.unwrap_or(DIRECT) } else { DIRECT },
        user: u32::from(evidence.user),
    }
}

/// How a declared type is read.
fn class(ty: ArgType) -> u32 {
    match ty {
        ArgType::Auto
        | ArgType::Int
        | ArgType::Int8
        | ArgType::Uint8
        | ArgType::Int16
        | ArgType::Uint16
        | ArgType::Uint32
        | ArgType::Int64
        | ArgType::Uint64
        | ArgType::SizeT
        | ArgType::BpfCmd
        | ArgType::Capability => AS_NUMBER,
        ArgType::DataLoc => AS_FIELD_STRING,
        ArgType::String => AS_STRING,
        ArgType::CharBuf => AS_BYTES,
        ArgType::Filename => AS_FILENAME,
        ArgType::Kiocb => AS_KIOCB,
        ArgType::File => AS_FILE,
        ArgType::Path => AS_PATH,
        ArgType::Dentry => AS_DENTRY,
        ArgType::Fd => AS_FD,
        ArgType::LinuxBinprm => AS_BINPRM,
        ArgType::Sock => AS_SOCK,
        ArgType::Socket => AS_SOCKET,
        ArgType::Skb => AS_SKB,
        ArgType::Sockaddr | ArgType::SockaddrUn => AS_SOCKADDR,
        ArgType::KernelCapT | ArgType::CapInheritable | ArgType::CapPermitted | ArgType::CapEffective => {
            AS_POINTED
        }
        ArgType::Syscall64 => AS_SYSCALL,
        ArgType::CharIovec
        | ArgType::Cred
        | ArgType::UserNamespace
        | ArgType::BpfAttr
        | ArgType::BpfProg
        | ArgType::BpfMap
        | ArgType::PerfEvent
        | ArgType::IovIter
        | ArgType::LoadInfo
        | ArgType::Module
        | ArgType::ConstBuf
        | ArgType::NetDevice
        | ArgType::Nop => AS_NOTHING,
    }
}

// A word has as many bits as a hook can have selectors, see `first_bit`.
const _: () = assert!(WORD_BITS == u64::BITS);
