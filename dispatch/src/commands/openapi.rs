//! `dispatch openapi`.

use crate::exit::Failure;

/// Prints the document that this version's dispatch-api serves.
pub fn run() -> Result<(), Failure> {
    super::print(&api::openapi::text())
}
