//! Shell completions and manual pages.

use std::io::{self, Write as _};

use anyhow::{Result, bail};
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::arguments::Arguments;

/// Prints the shell completion script.
pub(crate) fn completions(shell: Shell) -> Result<()> {
    // Written to memory first, because the generator panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "gatewatch", &mut script);
    io::stdout().write_all(&script)?;
    Ok(())
}

/// Prints the manual page of the program or of one command.
pub(crate) fn page(command: Option<&str>) -> Result<()> {
    let mut all = Arguments::command();
    all.build();
    let page = match command {
        None => clap_mangen::Man::new(all),
        Some(name) => match all.find_subcommand(name) {
            Some(command) => clap_mangen::Man::new(command.clone()).title(format!("gatewatch-{name}")),
            None => bail!("unknown command {name}"),
        },
    };
    let mut text = Vec::new();
    page.render(&mut text)?;
    io::stdout().write_all(&text)?;
    Ok(())
}
