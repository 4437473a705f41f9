//! The kernels that policies are checked for.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, bail};
use gatewatch_kernel::{Profile, host};
use gatewatch_policy::{assess, compile::Environment, model::NamespaceKind};

use crate::print_message;

/// The kernels to check for.
#[derive(Debug)]
pub(crate) struct Kernels {
    list: Vec<Kernel>,
    host_namespaces: BTreeMap<NamespaceKind, u32>,
}

#[derive(Debug)]
struct Kernel {
    name: String,
    profile: Profile,
}

impl Kernels {
    /// Loads the named kernels, or all shipped ones if none is named.
    pub(crate) fn load(wanted: &[String]) -> Result<Self> {
        let shipped: Vec<String>;
        let wanted = if wanted.is_empty() {
            shipped = Profile::shipped_names().map(str::to_owned).collect();
            &shipped
        } else {
            wanted
        };
        let mut list: Vec<Kernel> = Vec::new();
        for name in wanted {
            if !list.iter().any(|kernel| kernel.name == *name) {
                list.push(Kernel { name: name.clone(), profile: profile(name)? });
            }
        }
        // `host_ns` means numbers that only a node knows. Any numbers work here that no real namespace has: the kernel
        // assigns numbers from 0xEFFFFFFA (PROC_CGROUP_INIT_INO and the like in include/linux/proc_ns.h).
        let host_namespaces =
            NamespaceKind::ALL.iter().zip(1..).map(|(kind, inode)| (*kind, inode)).collect();
        Ok(Self { list, host_namespaces })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = assess::Kernel<'_>> {
        self.list.iter().map(|kernel| assess::Kernel {
            name: &kernel.name,
            environment: Environment { kernel: &kernel.profile, host_namespaces: &self.host_namespaces },
            nodes: None,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}

fn profile(name: &str) -> Result<Profile> {
    if let Some(profile) = Profile::shipped(name) {
        return Ok(profile);
    }
    if name == "host" {
        let kernel = host()?;
        for gap in &kernel.gaps {
            print_message(&format!("warning: {gap}"));
        }
        return Ok(kernel.profile);
    }
    let bytes = match fs::read(name) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let names: Vec<&str> = Profile::shipped_names().collect();
            bail!(
                "unknown kernel {name}: expected a profile file, `host` or a shipped kernel ({})",
                names.join(", ")
            );
        }
        bytes => bytes.with_context(|| format!("cannot read {name}"))?,
    };
    Profile::from_bytes(&bytes).with_context(|| name.to_owned())
}
