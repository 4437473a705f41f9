//! Writes the manifests of the kinds to `crds/manifests/`.

use std::{error::Error, fs};

use gatewatch_crds::manifest;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = manifest::folder();
    fs::create_dir_all(folder)?;
    for definition in manifest::definitions() {
        let file = folder.join(manifest::file_name(&definition));
        fs::write(&file, manifest::yaml(&definition)?)?;
        println!("{}", file.display());
    }
    Ok(())
}
