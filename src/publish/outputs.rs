//! Where journals, plots and reports go.

use std::path::{Path, PathBuf};

/// The folder of one test in the [`root`].
pub(crate) fn folder(test: &str) -> PathBuf {
    root().join(file_name(test))
}

/// `$STEADFAST_OUT`, else `steadfast` in the target folder of the executable, else in the one that cargo is told of, else
/// in `target`.
pub(crate) fn root() -> PathBuf {
    crate::variables::path("STEADFAST_OUT").unwrap_or_else(|| {
        let executable = std::env::current_exe().ok();
        let target = executable.as_deref().and_then(target_of);
        // A command that was installed lies in no target folder.
        let told = || crate::variables::path("CARGO_TARGET_DIR");
        target.or_else(told).unwrap_or_else(|| PathBuf::from("target")).join("steadfast")
    })
}

/// Where tests have left something, for who reads it: the root, else that of the workspace around the working directory.
#[cfg(feature = "cli")]
pub(crate) fn found() -> PathBuf {
    let root = root();
    if root.is_dir() {
        return root;
    }
    let around = std::env::current_dir().ok().and_then(|here| found_around(&here));
    around.unwrap_or(root)
}

#[cfg(feature = "cli")]
fn found_around(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().map(|above| above.join("target/steadfast")).find(|outputs| outputs.is_dir())
}

/// Cargo marks its target folder by these files, whatever it is called; by the first only if it made the folder.
fn target_of(executable: &Path) -> Option<PathBuf> {
    let marked = |folder: &&Path| ["CACHEDIR.TAG", ".rustc_info.json"].iter().any(|mark| folder.join(mark).is_file());
    executable.ancestors().find(marked).map(Path::to_owned)
}

/// A test's path as one folder: `it::lab4::front` becomes `it.lab4.front`.
fn file_name(test: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = test.replace("::", ".").chars().map(plain).collect();
    let name = name.trim_matches('.');
    if name.is_empty() { "experiment".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_cannot_leave_the_outputs_folder_by_its_name() {
        assert_eq!(file_name("it::lab4::front"), "it.lab4.front");
        assert_eq!(file_name("../../etc/passwd"), "-..-etc-passwd");
        assert_eq!(file_name(".."), "experiment");
    }

    #[test]
    fn the_target_folder_is_found_from_the_executable() {
        let folder = tempfile::tempdir().unwrap();
        let executable = folder.path().join("debug/deps/it-123");
        assert_eq!(target_of(&executable), None);
        std::fs::write(folder.path().join("CACHEDIR.TAG"), "").unwrap();
        assert_eq!(target_of(&executable).as_deref(), Some(folder.path()));
    }

    #[cfg(feature = "cli")]
    #[test]
    fn outputs_are_found_from_within_a_package_of_the_workspace() {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("crates/shop-tests");
        let outputs = folder.path().join("target/steadfast");
        std::fs::create_dir_all(&package).unwrap();
        assert_ne!(found_around(&package).as_deref(), Some(&*outputs));
        std::fs::create_dir_all(&outputs).unwrap();
        assert_eq!(found_around(&package).as_deref(), Some(&*outputs));
    }
}
