//! The kernel's types (BTF), parsed when a program is loaded and let go of afterwards: they take 20 MB and more, and
//! programs are loaded only when policies change.

use aya::Btf;

use super::error::LoadError;
use crate::allocator;

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

    /// Frees them if they were not used since the last call, and returns other free memory, such as what
    /// scrapes needed.
    pub(super) fn rest(&mut self) {
        if !std::mem::take(&mut self.used) {
            self.parsed = None;
        }
        allocator::give_back();
    }

    /// Lets go of them.
    pub(super) fn clear(&mut self) {
        self.used = false;
        self.rest();
    }
}
