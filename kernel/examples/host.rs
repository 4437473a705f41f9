//! What [`host`](gatewatch_kernel::host) learns of the kernel that is running here, how long it takes, and what memory.

use std::{error::Error, fs, time::Instant};

use gatewatch_kernel::host::{Depth, host_to};

fn main() -> Result<(), Box<dyn Error>> {
    let depth =
        if std::env::args().any(|arg| arg == "--everything") { Depth::Everything } else { Depth::Attach };
    let start = Instant::now();
    let kernel = host_to(depth)?;
    let took = start.elapsed();
    println!("{} {} ({took:?})", kernel.profile.release, kernel.profile.version);
    println!("{:?}", kernel.features);
    for gap in &kernel.gaps {
        println!("{gap}");
    }
    for name in ["security_file_permission", "__x64_sys_execve", "__x64_sys_fork", "asm_exc_page_fault"] {
        if let Some(function) = kernel.profile.function(name) {
            println!("{function}: {:?}, {:?}", function.attachable, function.obstacle);
        }
    }
    println!("{}", kernel.profile.syscall("sys_openat").map(|call| call.to_string()).unwrap_or_default());
    kernel.profile.layout()?;
    let memory = || -> Result<String, Box<dyn Error>> {
        let status = fs::read_to_string("/proc/self/status")?;
        Ok(status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS")).collect())
    };
    println!("{}", memory()?);
    if depth == Depth::Everything {
        println!("{} {:?} {}", kernel.profile.hash(), start.elapsed(), memory()?);
    }
    Ok(())
}
