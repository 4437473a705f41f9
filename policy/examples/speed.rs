//! How long it takes to check and compile many policies, on one processor: `cargo run --release --example speed -- FILE…`
//!
//! The files are taken again and again until there are 1,000 documents. Each line is a step on its own.

use std::{
    collections::BTreeMap,
    error::Error,
    time::{Duration, Instant},
};

use gatewatch_kernel::Profile;
use gatewatch_policy::{
    assess::{Against, Checked, assess},
    compile::{Environment, compile},
    schema::Schemas,
    selection::Selection,
    source::parse,
};

const POLICIES: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let texts = std::env::args().skip(1).map(std::fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
    if texts.is_empty() {
        return Err("name the files of some policies".into());
    }
    let began = Instant::now();
    let schemas = Schemas::shipped();
    let kernels: Vec<Profile> = Profile::shipped_names().filter_map(Profile::shipped).collect();
    println!("schemas and {} profiles: {:?}", kernels.len(), began.elapsed());
    let host_namespaces = BTreeMap::new();
    let selection = Selection::default();
    let against = Against { schemas: Some(schemas), ..Against::new(&selection) };
    let [mut read, mut checked, mut compared, mut compiled] = [Duration::ZERO; 4];
    let mut count = 0;
    let mut bytes = 0;
    for text in texts.iter().cycle() {
        let began = Instant::now();
        let documents = parse(text);
        read += began.elapsed();
        bytes += text.len();
        for document in documents {
            let began = Instant::now();
            let policy = Checked::of(&document);
            checked += began.elapsed();
            let began = Instant::now();
            assess(&document, &against);
            compared += began.elapsed();
            let began = Instant::now();
            for kernel in &kernels {
                if let Ok(policy) = &policy {
                    compile(&policy.policy, Environment { kernel, host_namespaces: &host_namespaces });
                }
            }
            compiled += began.elapsed();
            count += 1;
        }
        if count >= POLICIES {
            break;
        }
    }
    println!("{count} policies, {} KiB", bytes >> 10);
    println!("parse:                     {read:?}");
    println!("read and check:            {checked:?}");
    println!("the same with the schema:  {compared:?}");
    println!("compile for all profiles:  {compiled:?}");
    Ok(())
}
