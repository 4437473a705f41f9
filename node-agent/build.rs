//! Tells the crate where the built kernel half is. `cargo xtask build` sets `GATEWATCH_EBPF_DIR`; without it (an
//! editor, `cargo check`) the crate builds without a kernel half, and an agent that is built so says so and ends.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-env-changed=GATEWATCH_EBPF_DIR");
    let out = env::var("OUT_DIR").unwrap_or_default();
    for object in ["attach", "classify", "classify_wide", "track"] {
        let target = Path::new(&out).join(object);
        let bytes = match env::var("GATEWATCH_EBPF_DIR") {
            Ok(dir) => {
                let source = Path::new(&dir).join(object);
                println!("cargo:rerun-if-changed={}", source.display());
                fs::read(&source).unwrap_or_else(|error| {
                    println!("cargo:error=cannot read {}: {error}", source.display());
                    Vec::new()
                })
            }
            Err(_) => Vec::new(),
        };
        if let Err(error) = fs::write(&target, bytes) {
            println!("cargo:error=cannot write {}: {error}", target.display());
        }
    }
}
