//! The test guests, in Rust and other languages.

use anyhow::Result;

use crate::components::{add_guests, choose};
use crate::foreign::{self, Foreign};
use crate::plan::Plan;
use crate::project::Project;

/// Adds the test guests: all, or those named.
///
/// # Errors
/// When a name is not that of a guest, or sources cannot be read.
pub(crate) fn add(plan: &mut Plan, project: &Project, names: &[String]) -> Result<()> {
    let rust = project.folders_with("tests/guests", "Cargo.toml")?;
    let foreign = project.folders_with("tests/guests", foreign::WORLD)?;
    let all = rust.iter().chain(&foreign).cloned().collect();
    let chosen = choose("guest", all, names)?;
    let is_chosen = |name: &&String| chosen.contains(name);

    add_guests(plan, project, &rust.iter().filter(is_chosen).collect::<Vec<_>>())?;
    for name in foreign.iter().filter(is_chosen) {
        let folder = project.at("tests/guests").join(name);
        Foreign::new("Guest", name, folder, project.guest(name)).add_to(plan, project)?;
    }
    Ok(())
}
