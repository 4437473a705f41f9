//! Time and memory that the kernel's types take: `measure FILE ours|profile|btfparse`, with a copy of
//! `/sys/kernel/btf/vmlinux`. One reader a run, so that the peak is its own.

use std::{error::Error, fs, hint::black_box, time::Instant};

use btfparse::{ErrorKind, Readable, TypeInformation};
use gatewatch_abi::Layout;
use gatewatch_kernel::{Arch, KernelTypes, Parts, Profile, layout};

struct Bytes(Vec<u8>);

impl Readable for Bytes {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> btfparse::Result<()> {
        let end = || btfparse::Error::new(ErrorKind::IOError, "behind the end");
        let start = usize::try_from(offset).map_err(|_| end())?;
        buffer.copy_from_slice(self.0.get(start..start + buffer.len()).ok_or_else(end)?);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let [_, file, reader] =
        std::env::args().collect::<Vec<_>>().try_into().map_err(|_| "measure FILE READER")?;
    let bytes = fs::read(file)?;
    let start = Instant::now();
    match reader.as_str() {
        "ours" => {
            let types = KernelTypes::new(bytes)?;
            println!("read: {:?}", start.elapsed());
            black_box(layout(&types)?);
        }
        "profile" => {
            black_box(Profile::from_parts(&Parts::new("", Arch::Amd64, &bytes))?);
        }
        "btfparse" => {
            let types = TypeInformation::new(&Bytes(bytes)).map_err(|error| format!("{error:?}"))?;
            println!("read: {:?}", start.elapsed());
            for (_, structure, path, ..) in Layout::FIELDS {
                if let Some(id) = types.id_of(structure) {
                    let _ = black_box(types.offset_of(id, path));
                }
            }
        }
        _ => return Err("ours, profile or btfparse".into()),
    }
    println!("read and used: {:?}", start.elapsed());
    let status = fs::read_to_string("/proc/self/status")?;
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
    Ok(())
}
