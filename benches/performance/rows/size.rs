//! How large the binary is.

use anyhow::Result;

use super::memory::megabytes;
use crate::report::{Goal, Row};
use crate::world::BINARY;

/// Of the stripped binary that all rows measure.
pub fn size() -> Result<Vec<Row>> {
    let figures = [megabytes(std::fs::metadata(BINARY)?.len())].into_iter().collect();
    let (what, note) = ("`size` of the stripped binary".to_owned(), String::new());
    Ok(vec![Row { what, unit: " MB", goal: Goal::AtMost(25.0), figures, note }])
}
