//! Services as files: `export`, `apply`, `diff` and `edit`.
//!
//! A document is a RegisterServiceRequest of the contract in YAML or JSON: the service, and its policy as somebody wrote it.
//! So what `export` prints is what `apply` takes, and there is no format of our own to keep in step. Everything is read and
//! checked by the manager's own check of policies before anything is written: one bad file changes nothing.

mod alternatives;
mod apply;
mod diff;
mod edit;
mod export;
mod manifest;

pub(super) use self::apply::{ApplyArgs, HELP as APPLY_HELP, run as apply};
pub(super) use self::diff::{DiffArgs, HELP as DIFF_HELP, run as diff};
pub(super) use self::edit::{EditArgs, HELP as EDIT_HELP, run as edit};
pub(super) use self::export::{ExportArgs, HELP as EXPORT_HELP, run as export};
