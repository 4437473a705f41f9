//! What a `TracingPolicy` means. Bytes are parsed into a tree with source positions, the tree is read into the
//! [`model`], the model is checked (which gives diagnostics), and what passed is compiled into a [`plan`] for one
//! kernel. Pure: no clock, no files, no network.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod assess;
mod check;
pub mod codes;
pub mod compile;
pub mod diagnostic;
pub mod dropped;
pub mod empty_selector;
pub mod evaluate;
mod expand;
mod filter_rules;
mod form_errors;
pub mod history;
pub mod hook_point;
pub mod labels;
pub mod lanes;
mod macro_fields;
pub mod match_tables;
pub mod model;
pub mod names;
pub mod nearest;
mod older;
pub mod pages;
pub mod placeholder;
pub mod plan;
pub mod prove;
pub mod read;
pub mod render;
pub mod same_name;
pub mod schema;
pub mod scope;
pub mod selection;
mod severity;
pub mod source;
mod synonyms;
mod syscall_name;
pub mod target;
mod type_class;
pub mod values;
