//! The kernel's types (BTF), parsed when a program is loaded and let go of afterwards: they take 20 MB and more, and
//! programs are loaded only when policies change.

use aya::Btf;

use super::error::LoadError;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Types {
    parsed: Option<Btf>,
    used: bool,
}

impl Types {
    /// The types.
    pub(super) fn get(&mut self) -> Result<&Btf, LoadError> {
        self.used = true;
        match &mut self.parsed {
            Some(btf) => Ok(btf),
            none => Ok(none.insert(Btf::from_sys_fs().map_err(LoadError::Btf)?)),
        }
    }

    /// Lets go of them if nobody has asked for them since the last call; and gives back what else is free, such as what
    /// scrapes needed.
    pub(super) fn rest(&mut self) {
        if !std::mem::take(&mut self.used) {
            self.parsed = None;
        }
        trim();
    }

    /// Lets go of them.
    pub(super) fn clear(&mut self) {
        self.used = false;
        self.rest();
    }
}

/// Gives memory that is free back to the kernel. The allocator does that by itself only with what lies at the heap's end,
/// and of 150,000 types in as many pieces little does.
#[allow(unsafe_code, reason = "no maintained crate wraps malloc_trim")]
fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes no pointer, and may be called by any thread at any time (malloc_trim(3)).
    let _ = unsafe { libc::malloc_trim(0) };
}
