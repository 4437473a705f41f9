//! The options of the command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use gatewatch_events::{
    fields::FieldFilters,
    filter::{FilterError, Filters},
    redaction::Redaction,
};
use thiserror::Error;

use crate::file::FileOptions;

/// Options of the export of records. Those that Tetragon has keep its names and meanings.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Export of records")]
pub struct ExportOptions {
    /// Write records to this file, a line of JSON each
    #[arg(long, value_name = "FILE")]
    pub export_filename: Option<PathBuf>,
    /// Rotate the file before it is larger
    #[arg(long, value_name = "MEGABYTES", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub export_file_max_size_mb: u64,
    /// Rotated files to keep; 0 keeps all
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    pub export_file_max_backups: usize,
    /// Rotate the file after this time as well, for example 1h; 0 does not
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub export_file_rotation_interval: Duration,
    /// Compress rotated files with gzip
    #[arg(long)]
    pub export_file_compress: bool,
    /// Permissions of the file, in octal; never executable, and never writable by others
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = mode)]
    pub export_file_perm: u32,
    /// Write records to standard output, a line of JSON each
    #[arg(long)]
    pub export_stdout: bool,
    /// Offer records to `gatewatch events` at this unix socket, which only the agent's user can read; filters do not apply
    #[arg(long, value_name = "PATH")]
    pub export_socket: Option<PathBuf>,
    /// Records that each output may be behind; further ones are lost and counted
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub event_queue_size: u32,
    /// Limit of exported records per minute; -1 is no limit, 0 exports none
    #[arg(long, value_name = "NUMBER", default_value_t = -1, allow_negative_numbers = true)]
    pub export_rate_limit: i64,
    /// Export only records that match one of these filters, a JSON object per line
    #[arg(long, value_name = "FILTERS", default_value = "", hide_default_value = true)]
    pub export_allowlist: String,
    /// Export no record that matches one of these filters, a JSON object per line
    #[arg(long, value_name = "FILTERS", default_value = "", hide_default_value = true)]
    pub export_denylist: String,
    /// Export only these fields, or leave some out, a JSON object per line
    #[arg(long, value_name = "FILTERS", default_value = "", hide_default_value = true)]
    pub field_filters: String,
    /// Redact what the groups of these regular expressions match, a JSON object per line; applies to all outputs
    #[arg(long, value_name = "FILTERS", default_value = "", hide_default_value = true)]
    pub redaction_filters: String,
    /// Do not redact what looks like a secret; --redaction-filters still apply
    #[arg(long)]
    pub no_redaction: bool,
    /// Form of exported records
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub export_format: Format,
}

/// The form of exported records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tetragon's JSON
    #[default]
    Tetragon,
}

/// A mistake in the options.
#[derive(Debug, Error)]
pub enum OptionsError {
    /// In a list of filters.
    #[error("--{option}: {error}")]
    Filter {
        /// The option.
        option: &'static str,
        /// What is wrong.
        error: FilterError,
    },
}

/// What the options say about each record.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) filters: Filters,
    pub(crate) fields: FieldFilters,
    pub(crate) redaction: Redaction,
}

impl ExportOptions {
    /// Whether there is an output. Without one, no record is needed.
    pub fn is_enabled(&self) -> bool {
        self.export_filename.is_some() || self.export_stdout || self.export_socket.is_some()
    }

    pub(crate) fn rules(&self) -> Result<Rules, OptionsError> {
        let fault = |option| move |error| OptionsError::Filter { option, error };
        // Both lists are parsed apart first, so that the message names the option.
        Filters::parse(&self.export_allowlist, "").map_err(fault("export-allowlist"))?;
        Ok(Rules {
            filters: Filters::parse(&self.export_allowlist, &self.export_denylist)
                .map_err(fault("export-denylist"))?,
            fields: FieldFilters::parse(&self.field_filters).map_err(fault("field-filters"))?,
            redaction: Redaction::parse(!self.no_redaction, &self.redaction_filters)
                .map_err(fault("redaction-filters"))?,
        })
    }

    pub(crate) fn file(&self) -> Option<FileOptions> {
        let interval = self.export_file_rotation_interval;
        Some(FileOptions {
            path: self.export_filename.clone()?,
            max_bytes: self.export_file_max_size_mb.saturating_mul(1 << 20),
            max_backups: self.export_file_max_backups,
            rotation_interval: (!interval.is_zero()).then_some(interval),
            compress: self.export_file_compress,
            mode: self.export_file_perm,
        })
    }
}

/// Reads permissions as Tetragon does: never executable or writable by others, always readable and writable by the
/// owner (`pkg/fileutils` in its repository).
fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode & !0o113 | 0o600),
        _ => Err("expected permissions in octal, for example 640".to_owned()),
    }
}

/// Reads a duration; Tetragon's `0` needs no unit.
fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|_| "expected a number and a unit, for example 10s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_as_tetragons() {
        for (text, expected) in
            [("600", 0o600), ("640", 0o640), ("777", 0o664), ("000", 0o600), ("0644", 0o644)]
        {
            assert_eq!(mode(text), Ok(expected), "{text}");
        }
        assert!(mode("rw").is_err() && mode("1777").is_err() && mode("648").is_err());
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert!(duration("10").is_err());
    }
}
