//! Registers by their names: where each is in a `struct pt_regs`.

use gatewatch_kernel::Arch;

/// The 64-bit names in the order of `struct pt_regs`, arch/x86/include/asm/ptrace.h.
const AMD64: [&str; 21] = [
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
    "orig_rax", "rip", "cs", "eflags", "rsp", "ss",
];

/// The offset of a register in bytes, and its bits. A narrower name is the lower part of the register.
pub(super) fn find(arch: Arch, name: &str) -> Option<(u32, u8)> {
    match arch {
        Arch::Amd64 => {
            let (of, bits) = whole(name);
            let at = AMD64.iter().position(|register| *register == of)?;
            Some((u32::try_from(8 * at).ok()?, bits))
        }
        Arch::Arm64 => arm64(name),
    }
}

/// The 64-bit name of an amd64 register, and how many of its bits the given name covers.
fn whole(name: &str) -> (String, u8) {
    if let Some(number) = name.strip_prefix('r').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    {
        let split = [("d", 32), ("w", 16), ("b", 8)]
            .into_iter()
            .find_map(|(end, bits)| Some((number.strip_suffix(end)?, bits)));
        let (number, bits) = split.unwrap_or((number, 64));
        return (format!("r{number}"), bits);
    }
    let legacy = ["ax", "bx", "cx", "dx", "si", "di", "bp", "sp"];
    for of in legacy {
        if name == of {
            return (format!("r{of}"), 16);
        }
        if name.strip_prefix('e') == Some(of) {
            return (format!("r{of}"), 32);
        }
        // al for ax, and sil for si.
        let short = of.strip_suffix('x').unwrap_or(of);
        if name.strip_suffix('l') == Some(short) {
            return (format!("r{of}"), 8);
        }
    }
    (name.to_owned(), 64)
}

/// `struct user_pt_regs`, arch/arm64/include/uapi/asm/ptrace.h.
fn arm64(name: &str) -> Option<(u32, u8)> {
    match name {
        "sp" => return Some((248, 64)),
        "pc" => return Some((256, 64)),
        "pstate" => return Some((264, 64)),
        _ => {}
    }
    let (rest, bits) = match name.strip_prefix('x') {
        Some(rest) => (rest, 64),
        None => (name.strip_prefix('w')?, 32),
    };
    let number: u32 = rest.parse().ok().filter(|number| *number <= 30)?;
    Some((8 * number, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_their_parts() {
        for (name, expected) in [
            ("rdi", Some((112, 64))),
            ("edi", Some((112, 32))),
            ("di", Some((112, 16))),
            ("dil", Some((112, 8))),
            ("rax", Some((80, 64))),
            ("al", Some((80, 8))),
            ("r10", Some((56, 64))),
            ("r10d", Some((56, 32))),
            ("r8b", Some((72, 8))),
            ("rip", Some((128, 64))),
            ("orig_rax", Some((120, 64))),
            ("r16", None),
            ("x0", None),
            ("", None),
        ] {
            assert_eq!(find(Arch::Amd64, name), expected, "{name}");
        }
        assert_eq!(find(Arch::Arm64, "x30"), Some((240, 64)));
        assert_eq!(find(Arch::Arm64, "w1"), Some((8, 32)));
        assert_eq!(find(Arch::Arm64, "x31"), None);
    }
}
