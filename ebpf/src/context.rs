//! The arguments of an event, by how the program is attached.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::helpers::generated::bpf_get_attach_cookie;
use gatewatch_abi::consts::{POINTS_BY_COOKIE, POINTS_ONE, SYSCALL_32_BIT};

use crate::{arch::regs, frozen, globals::CONFIG, memory, points};

/// What a program is given when its function is called.
pub trait Context: Copy {
    /// Whether the verifier knows the types of arguments.
    const TYPED: bool;
    /// Whether a program can be attached to several hook points. Where it can't, nothing is paid for asking.
    const SEVERAL: bool;
    /// Whether arguments are fields of a tracepoint, and `index` is the offset of one in bytes.
    const FIELDS: bool = false;
    /// The address of the context.
    fn as_ptr(self) -> *mut c_void;
    /// Argument `index` of the function, as its register holds it.
    fn arg(self, index: u32) -> u64;
    /// The function's result. `params` is the number of its parameters.
    fn result(self, params: u32) -> u64;
    /// Argument `index` as a number, also where the verifier knows it as a pointer.
    #[inline(always)]
    fn arg_as_number(self, index: u32) -> u64 {
        self.arg(index)
    }
    /// The same of the function's result.
    #[inline(always)]
    fn result_as_number(self, params: u32) -> u64 {
        self.result(params)
    }
    /// The address of the tracepoint's first field.
    #[inline(always)]
    fn fields(self) -> u64 {
        0
    }
    /// The index of the hook point, of a program that is attached to several. `None`: the agent has not named this one.
    #[inline(always)]
    fn point(self) -> Option<u32> {
        Some(0)
    }
    /// Argument `index` as a pointer that the verifier knows the type of, where it does.
    #[inline(always)]
    fn typed_arg(self, index: u32) -> *const u8 {
        self.arg(index) as *const u8
    }
}

/// A load from the context at a constant offset. The verifier takes no other ones on older kernels ("dereference
/// of modified ctx ptr"), and without the assembly the compiler folds the arms of a match into one load at a
/// computed offset.
macro_rules! load {
    ($ctx:expr, $offset:expr) => {{
        let value: u64;
        // SAFETY: reads eight bytes of the context, which the verifier checks.
        unsafe {
            asm!("{value} = *(u64 *)({ctx} + {offset})", value = out(reg) value, ctx = in(reg) $ctx,
                offset = const $offset, options(pure, readonly, nostack));
        }
        value
    }};
}

/// The context of a kprobe or kretprobe: `struct pt_regs`.
#[derive(Clone, Copy)]
pub struct Registers(pub *mut c_void);

impl Context for Registers {
    const TYPED: bool = false;
    const SEVERAL: bool = true;

    #[inline(always)]
    fn as_ptr(self) -> *mut c_void {
        self.0
    }

    #[inline(always)]
    fn arg(self, index: u32) -> u64 {
        match index {
            0 => load!(self.0, regs::ARG0),
            1 => load!(self.0, regs::ARG1),
            2 => load!(self.0, regs::ARG2),
            3 => load!(self.0, regs::ARG3),
            4 => load!(self.0, regs::ARG4),
            _ => load!(self.0, regs::ARG5),
        }
    }

    #[inline(always)]
    fn result(self, _params: u32) -> u64 {
        load!(self.0, regs::RESULT)
    }

    #[inline(always)]
    fn point(self) -> Option<u32> {
        match frozen!(CONFIG.points) {
            POINTS_ONE => Some(0),
            // SAFETY: the program's own context.
            POINTS_BY_COOKIE => Some(unsafe { bpf_get_attach_cookie(self.0) } as u32),
            _ => points::by_address(load!(self.0, regs::POINTER)),
        }
    }
}

/// The context of fentry and fexit: an array of the arguments, with the result after the last one.
#[derive(Clone, Copy)]
pub struct Arguments(pub *mut c_void);

impl Context for Arguments {
    const TYPED: bool = true;
    const SEVERAL: bool = false;

    #[inline(always)]
    fn as_ptr(self) -> *mut c_void {
        self.0
    }

    #[inline(always)]
    fn arg(self, index: u32) -> u64 {
        match index {
            0 => load!(self.0, 0),
            1 => load!(self.0, 8),
            2 => load!(self.0, 16),
            3 => load!(self.0, 24),
            4 => load!(self.0, 32),
            _ => load!(self.0, 40),
        }
    }

    #[inline(always)]
    fn result(self, params: u32) -> u64 {
        match params {
            6 => load!(self.0, 48),
            params => self.arg(params),
        }
    }

    /// Read as memory, which has no type: the verifier allows no arithmetic on a pointer that it knows the type of.
    #[inline(always)]
    fn arg_as_number(self, index: u32) -> u64 {
        memory::read(self.0 as u64 + 8 * u64::from(index))
    }

    #[inline(always)]
    fn result_as_number(self, params: u32) -> u64 {
        self.arg_as_number(params)
    }
}

/// The context of a raw tracepoint: an array of the arguments, of which the verifier knows no types.
#[derive(Clone, Copy)]
pub struct RawArguments(pub *mut c_void);

impl Context for RawArguments {
    const TYPED: bool = false;
    const SEVERAL: bool = false;

    #[inline(always)]
    fn as_ptr(self) -> *mut c_void {
        self.0
    }

    #[inline(always)]
    fn arg(self, index: u32) -> u64 {
        Arguments(self.0).arg(index)
    }

    #[inline(always)]
    fn result(self, _params: u32) -> u64 {
        0
    }
}

/// The context of a tracepoint: the fields of its format.
#[derive(Clone, Copy)]
pub struct TracepointFields(pub *mut c_void);

impl Context for TracepointFields {
    const TYPED: bool = false;
    const SEVERAL: bool = false;
    const FIELDS: bool = true;

    #[inline(always)]
    fn as_ptr(self) -> *mut c_void {
        self.0
    }

    /// The eight bytes at the field's offset: of a shorter field, the lower ones. By a call, since a load from the context must
    /// be as wide as the field.
    #[inline(always)]
    fn arg(self, index: u32) -> u64 {
        memory::read(self.fields() + u64::from(index))
    }

    #[inline(always)]
    fn result(self, _params: u32) -> u64 {
        0
    }

    #[inline(always)]
    fn fields(self) -> u64 {
        self.0 as u64
    }
}

/// Argument `index` as a number, of a system call or of another point.
#[inline(always)]
pub fn any_arg<C: Context>(ctx: C, index: u32) -> u64 {
    if frozen!(CONFIG.syscall) != 0 { syscall_arg(ctx, index) } else { ctx.arg_as_number(index) }
}

/// Argument `index` of a system call, whose entry function gets the caller's registers as its only argument.
#[inline(always)]
pub fn syscall_arg<C: Context>(ctx: C, index: u32) -> u64 {
    let registers = ctx.arg(0);
    if frozen!(CONFIG.syscall) == SYSCALL_32_BIT {
        let offset = match index {
            0 => regs::IA32_ARG0,
            1 => regs::IA32_ARG1,
            2 => regs::IA32_ARG2,
            3 => regs::IA32_ARG3,
            4 => regs::IA32_ARG4,
            _ => regs::IA32_ARG5,
        };
        // As `SC_IA32_REGS_TO_ARGS` (arch/x86/include/asm/syscall_wrapper.h): an unsigned int.
        return memory::read_word(registers + offset as u64) & u64::from(u32::MAX);
    }
    let offset = match index {
        0 => regs::ARG0,
        1 => regs::ARG1,
        2 => regs::ARG2,
        3 => regs::SYSCALL_ARG3,
        4 => regs::ARG4,
        _ => regs::ARG5,
    };
    memory::read_word(registers + offset as u64)
}
