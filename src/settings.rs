//! `steadfast.toml`: what a package says of itself. Documents read `[replace]` of the one beside them, reports `[report]`
//! of the nearest one.
//!
//! TOML is not read by every build: with default features alone it would be five more crates. Such a build looks only
//! whether a file has `[report]`, so that nobody waits for what it asks for.

use std::path::{Path, PathBuf};

/// The file's name.
pub(crate) const FILE: &str = "steadfast.toml";

/// The tables of a file, empty where there is none.
///
/// # Errors
/// It cannot be read, or is no TOML; in words, without its name.
#[cfg(feature = "report")]
pub(crate) fn tables(path: &Path) -> Result<std::collections::BTreeMap<String, serde_json::Value>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| error.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Default::default()),
        Err(error) => Err(format!("failed to read: {error}")),
    }
}

/// Whether a file that cannot be read in this build has a table.
#[cfg(not(feature = "report"))]
pub(crate) fn has_table(path: &Path, table: &str) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| line.split('#').next().unwrap_or_default().trim() == format!("[{table}]"))
}

/// The nearest file from a folder upwards, no farther than the root of its workspace.
pub(crate) fn nearest(folder: &Path) -> Option<PathBuf> {
    for folder in folder.ancestors() {
        let file = folder.join(FILE);
        if file.is_file() {
            return Some(file);
        }
        // Cargo locks at the root of a workspace; a repository ends at its own.
        if ["Cargo.lock", ".git"].iter().any(|mark| folder.join(mark).exists()) {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_is_found_within_the_workspace() {
        let root = tempfile::tempdir().expect("a folder");
        let package = root.path().join("workspace/package/src");
        std::fs::create_dir_all(&package).expect("folders");
        std::fs::write(root.path().join("workspace/Cargo.lock"), "").expect("a file");
        std::fs::write(root.path().join(FILE), "").expect("a file");
        assert_eq!(nearest(&package), None, "that one is outside");
        let of_workspace = root.path().join("workspace").join(FILE);
        std::fs::write(&of_workspace, "").expect("a file");
        assert_eq!(nearest(&package), Some(of_workspace));
        let own = root.path().join("workspace/package").join(FILE);
        std::fs::write(&own, "").expect("a file");
        assert_eq!(nearest(&package), Some(own));
    }
}
