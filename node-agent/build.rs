//! Tells the crate where the built BPF objects are. `cargo xtask build` sets `GATEWATCH_EBPF_DIR`; without it (an
//! editor, `cargo check`) the crate builds without BPF programs, and an agent that is built so says so and ends.

use std::{env, fs, path::Path};

use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

const OBJECTS: [&str; 13] = [
    "attach",
    "events",
    "events_wide",
    "matcher",
    "matcher_acting",
    "matcher_double",
    "matcher_integers",
    "matcher_paths",
    "matcher_wide",
    "matcher_wide_acting",
    "recorder",
    "track",
    "uprobe",
];

fn main() {
    println!("cargo::rerun-if-env-changed=GATEWATCH_EBPF_DIR");
    let out = env::var("OUT_DIR").unwrap_or_default();
    for object in OBJECTS {
        let target = Path::new(&out).join(object);
        let bytes = match env::var("GATEWATCH_EBPF_DIR") {
            Ok(dir) => {
                let source = Path::new(&dir).join(object);
                println!("cargo::rerun-if-changed={}", source.display());
                without_debugging(&source).unwrap_or_else(|error| {
                    println!("cargo::error=cannot read {}: {error}", source.display());
                    Vec::new()
                })
            }
            Err(_) => Vec::new(),
        };
        if let Err(error) = fs::write(&target, bytes) {
            println!("cargo::error=cannot write {}: {error}", target.display());
        }
    }
}

/// An object without what only a debugger reads: four fifths of it, which the agent would carry about and go through each
/// time that it loads a matcher. The kernel's own form of it (`.BTF`) is not that.
fn without_debugging(source: &Path) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let bytes = fs::read(source)?;
    let mut object = Builder::read(bytes.as_slice())?;
    for section in &mut object.sections {
        section.delete |= section.name.starts_with(b".debug_") || section.name.starts_with(b".rel.debug_");
    }
    // LLVM stores the names of sections with those of symbols; the writer needs a table of their own.
    let names = object.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut smaller = Vec::new();
    object.write(&mut smaller)?;
    Ok(smaller)
}
