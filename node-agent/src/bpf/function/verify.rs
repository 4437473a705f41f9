//! Whether what was attached is still attached.

use std::os::fd::{AsFd as _, BorrowedFd};

use super::{Function, Hold, LINK_PIN, SLOT_PIN};
use crate::bpf::syscall;

impl Function {
    /// Asks the kernel whether the program on the function is the one that was attached, and the matcher behind it the one that
    /// was installed. The error is a reason in words.
    pub(in crate::bpf) fn verify(&self) -> Result<(), String> {
        let id = |object: BorrowedFd<'_>| {
            syscall::info(object).map(|[_, id, _]| id).map_err(|error| error.to_string())
        };
        // Only the agent has what ends with it.
        let Hold::Kept(folder) = &self.hold else { return Ok(()) };
        let attached = id(self.program.as_fd())?;
        let path = folder.join(LINK_PIN);
        let link = syscall::pinned(&path)
            .map_err(|error| format!("the link {} no longer exists ({error})", path.display()))?;
        let [_, _, program] = syscall::info(link.as_fd()).map_err(|error| error.to_string())?;
        if program != attached {
            return Err(format!("the link {} has another program", path.display()));
        }
        let Some(matcher) = &self.matcher else { return Err("there is no matcher".to_owned()) };
        let expected =
            matcher.program.fd().map_err(|error| error.to_string()).and_then(|fd| id(fd.as_fd()))?;
        let path = folder.join(SLOT_PIN);
        let slot = syscall::pinned(&path)
            .map_err(|error| format!("the map {} no longer exists ({error})", path.display()))?;
        match syscall::lookup_number(slot.as_fd(), 0) {
            Ok(installed) if installed == expected => Ok(()),
            Ok(_) => Err("another matcher is installed".to_owned()),
            Err(error) => Err(format!("no matcher is installed ({error})")),
        }
    }
}
