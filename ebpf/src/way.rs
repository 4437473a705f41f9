//! Values behind the kernel's pointers (`resolve` of the language): each is found on a way that the agent has taken from the
//! kernel's types.

use aya_ebpf::helpers::bpf_get_current_task;
use gatewatch_abi::consts::{FROM_ARG, FROM_REGISTERS, FROM_TASK, WAY_FOLLOW, WAY_STEPS, WAY_STEPS_EACH};

use crate::{
    context::Context,
    frozen,
    globals::CONFIG,
    memory::{read_word, try_read},
};

/// The address at the end of a way. `None`: one of its pointers is null or cannot be read.
#[inline(always)]
pub fn address<C: Context>(
    ctx: C,
    from: u32,
    steps: &'static [u64; WAY_STEPS / WAY_STEPS_EACH],
) -> Option<u64> {
    let mut address = match from {
        // SAFETY: no preconditions.
        FROM_TASK => (unsafe { bpf_get_current_task() }) as u64,
        // A system call's entry gets the caller's registers, and its own say nothing of the call.
        FROM_REGISTERS if frozen!(CONFIG.syscall) != 0 => ctx.arg_as_number(0),
        FROM_REGISTERS => ctx.as_ptr() as u64,
        _ => ctx.arg_as_number(from - FROM_ARG),
    };
    for i in 0..WAY_STEPS {
        let step = frozen!(steps[i / WAY_STEPS_EACH]) >> (16 * (i % WAY_STEPS_EACH)) & 0xffff;
        if step == 0 {
            continue;
        }
        if address == 0 {
            return None;
        }
        address += step & !WAY_FOLLOW;
        if step & WAY_FOLLOW != 0 {
            address = read_word(address);
        }
    }
    if address == 0 { None } else { Some(address) }
}

/// The integer of so many bits at an address, behind `shift` bits.
#[inline(always)]
pub fn number(address: u64, bits: u32, shift: u32) -> Option<u64> {
    match bits {
        8 if shift == 0 => try_read::<u8>(address).map(u64::from),
        16 if shift == 0 => try_read::<u16>(address).map(u64::from),
        32 if shift == 0 => try_read::<u32>(address).map(u64::from),
        _ => try_read::<u64>(address).map(|value| value >> shift),
    }
}
