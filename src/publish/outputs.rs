//! Where journals, plots and reports go.

use std::path::{Path, PathBuf};

/// The folder of one test in the [`root`].
pub(crate) fn folder(test: &str) -> PathBuf {
    root().join(file_name(test))
}

/// `$STEADFAST_OUT`, else `steadfast` in the target folder of the executable, else in `target`.
pub(crate) fn root() -> PathBuf {
    match crate::variables::path("STEADFAST_OUT") {
        Some(out) => out,
        None => {
            let executable = std::env::current_exe().ok();
            let target = executable.as_deref().and_then(target_of);
            target.unwrap_or_else(|| PathBuf::from("target")).join("steadfast")
        }
    }
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
}
