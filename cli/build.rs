//! Puts the pages on diagnostics, `docs/codes/GWnnn.md`, into the program.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, error::Error, fs, io};

fn main() -> Result<(), Box<dyn Error>> {
    let docs = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../docs");
    // The folder itself may be new.
    println!("cargo::rerun-if-changed={}", docs.display());
    let mut table = String::from("&[\n");
    for page in pages(&docs.join("codes"))? {
        let code = page.file_stem().unwrap_or_default().to_string_lossy();
        let path = page.canonicalize()?.to_string_lossy().into_owned();
        writeln!(table, "    ({code:?}, include_str!({path:?})),")?;
    }
    table.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("pages.rs"), table)?;
    Ok(())
}

fn pages(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut pages = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    Ok(pages)
}
