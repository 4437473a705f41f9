//! The node's only way out: QEMU runs a relay for each connection that the node makes to [`ADDRESS_FROM_VM`], with the
//! connection as its standard input and output. Nothing else that the node sends leaves its VM.
//!
//! [`ADDRESS_FROM_VM`]: crate::kube::ADDRESS_FROM_VM

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    process::ExitCode,
    thread,
};

use anyhow::{Context as _, Result};
use clap::Args;

/// Options of `cargo xtask relay`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A port of this machine's loopback interface
    port: u16,
}

/// Passes standard input to the port and what comes back to standard output, until both have ended.
pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    let about = || format!("cannot reach port {} of loopback", arguments.port);
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, arguments.port)).with_context(about)?;
    stream.set_nodelay(true).with_context(about)?;
    let mut back = stream.try_clone().with_context(about)?;
    thread::spawn(move || {
        // The caller has sent everything: the other side receives the end, and may still answer.
        let _ = pass(&mut io::stdin().lock(), &mut &stream);
        let _ = stream.shutdown(Shutdown::Write);
    });
    // An error is an end of the connection like another.
    let _ = pass(&mut back, &mut io::stdout().lock());
    Ok(ExitCode::SUCCESS)
}

/// Passes on what there is at once, whether or not it ends a line.
fn pass(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..length])?;
        to.flush()?;
    }
}
