//! The options of records. Those of their outputs are in `gatewatch_export`.

use clap::Args;

use super::Node;
use crate::bpf::RecordLimits;

/// Bytes of the smallest and of the largest ring buffer.
const RING: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 30;

/// How events are recorded.
#[derive(Clone, Debug, Args)]
pub struct RecordOptions {
    /// Record no events, only count them, even if an output of records is configured
    #[arg(long)]
    no_records: bool,
    /// Size of the ring buffer for records, in bytes or with a suffix such as 64Ki or 4Mi; rounded up to a power of two
    #[arg(long, value_name = "SIZE", default_value = "1Mi", value_parser = size)]
    rb_size: u64,
    /// Limit of records a second of one policy and one pod. Events beyond it are counted, and reported as not written
    #[arg(long, value_name = "NUMBER", default_value_t = RecordLimits::default().per_second, value_parser = clap::value_parser!(u32).range(1..))]
    records_per_second: u32,
    /// Records of one policy and one pod that may come at once after a pause
    #[arg(long, value_name = "NUMBER", default_value_t = RecordLimits::default().burst, value_parser = clap::value_parser!(u32).range(1..))]
    records_burst: u32,
    /// Name of the cluster, in every record
    #[arg(long, value_name = "NAME", default_value = "")]
    cluster_name: String,
    /// Record the credentials and capabilities of processes
    #[arg(long)]
    enable_process_cred: bool,
    /// Record the namespaces of processes
    #[arg(long)]
    enable_process_ns: bool,
}

impl RecordOptions {
    /// What is recorded, if an output is configured.
    pub fn limits(&self, has_output: bool) -> Option<RecordLimits> {
        (has_output && !self.no_records).then(|| RecordLimits {
            ring_bytes: u32::try_from(self.rb_size.next_power_of_two()).unwrap_or(1 << 30),
            per_second: self.records_per_second,
            burst: self.records_burst,
        })
    }

    /// What all records have in common. `node` is the node's name; without one it is the host's.
    pub fn node(&self, node: Option<&str>) -> Node {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        Node {
            name: node.filter(|name| !name.is_empty()).map_or_else(host, str::to_owned),
            cluster: self.cluster_name.clone(),
            namespaces: [0; 10],
            credentials: self.enable_process_cred,
            with_namespaces: self.enable_process_ns,
        }
    }
}

/// A number of bytes.
fn size(text: &str) -> Result<u64, String> {
    let units = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("K", 10), ("M", 20), ("G", 30)];
    let found = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let (digits, shift) = found.unwrap_or((text, &0));
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    match bytes {
        Some(bytes) if RING.contains(&bytes) => Ok(bytes),
        Some(_) => Err("expected a size from 64Ki to 1Gi".to_owned()),
        None => Err("expected a number of bytes, or a number and Ki, Mi or Gi, for example 4Mi".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("65536"), Ok(65_536));
        assert_eq!(size("64Ki"), Ok(65_536));
        assert_eq!(size("4M"), Ok(4 << 20));
        for wrong in ["", "1", "2Gi", "-1Mi", "many", "99999999999Gi"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
