//! How processes end.

/// Names of signals by their numbers, from 1 on (arch/x86/include/uapi/asm/signal.h and include/uapi/asm-generic/signal.h have the
/// same).
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The signal and the status of an exit code, as `wait` gives it. The signal is empty for a process that called exit; a
/// real-time signal has a number.
pub(super) fn ending(code: u32) -> (String, u32) {
    let Some(signal) = (code & 0x7f).checked_sub(1) else { return (String::new(), code >> 8 & 0xff) };
    let name = usize::try_from(signal).ok().and_then(|signal| SIGNALS.get(signal));
    (name.map_or_else(|| format!("signal {}", signal + 1), |name| (*name).to_owned()), 0)
}

#[cfg(test)]
mod tests {
    use super::ending;

    #[test]
    fn a_process_exits_or_is_killed() {
        assert_eq!(ending(0), (String::new(), 0));
        assert_eq!(ending(7 << 8), (String::new(), 7));
        assert_eq!(ending(9), ("SIGKILL".to_owned(), 0));
        // With a core dump.
        assert_eq!(ending(0x80 + 11), ("SIGSEGV".to_owned(), 0));
        // By seccomp.
        assert_eq!(ending(0x80 + 31), ("SIGSYS".to_owned(), 0));
        assert_eq!(ending(34), ("signal 34".to_owned(), 0));
    }
}
