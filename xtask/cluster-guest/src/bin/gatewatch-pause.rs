//! The first process of every pod: holds the pod's namespaces, and collects processes whose parents have ended.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let handlers =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::child()));
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut child)) = handlers else {
        eprintln!("gatewatch-pause: cannot handle signals");
        return ExitCode::FAILURE;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => return ExitCode::SUCCESS,
            _ = terminate.recv() => return ExitCode::SUCCESS,
            _ = child.recv() => {
                while matches!(rustix::process::wait(rustix::process::WaitOptions::NOHANG), Ok(Some(_))) {}
            }
        }
    }
}
