//! The command that a user pastes to sweep one cluster.

use std::path::Path;

use super::Header;

/// The name of the context of the cluster that a process runs in.
pub(crate) const IN_CLUSTER: &str = "in-cluster";

/// `steadfast sweep` for the cluster of a context, as a shell takes it. `kubeconfig` is the file that the context is
/// from, if that is not the user's own.
#[must_use]
pub(crate) fn sweep_command(context: &str, kubeconfig: Option<&Path>) -> String {
    if context == IN_CLUSTER {
        return "steadfast sweep --cluster in-cluster".to_owned();
    }
    let file = kubeconfig.map(|file| format!("KUBECONFIG={} ", quoted(&file.to_string_lossy()))).unwrap_or_default();
    format!("{file}steadfast sweep --context {}", quoted(context))
}

/// Whether it is what [`sweep_command`] makes of some context and this kubeconfig: what a journal says is no command else.
#[must_use]
pub(crate) fn is_sweep_command(command: &str, kubeconfig: Option<&Path>) -> bool {
    let unnamed = sweep_command("", kubeconfig);
    let context = command.strip_prefix(unnamed.trim_end_matches('\''));
    let context = context.map(|word| match word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')) {
        Some(inner) => inner.replace(r"'\''", "'"),
        None => word.to_owned(),
    });
    let made =
        context.is_some_and(|context| !context.starts_with('-') && sweep_command(&context, kubeconfig) == command);
    made || command == sweep_command(IN_CLUSTER, None)
}

impl Header {
    pub(super) fn sweep_command(&self) -> String {
        sweep_command(&self.context, self.kubeconfig.as_deref())
    }
}

/// A word as a shell takes it.
#[must_use]
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_any_context_and_any_file() {
        let file = Path::new("/home/o'neil/a b/dev.kubeconfig");
        let command = sweep_command("arn:aws:eks:eu-1:1:cluster/it's dev", Some(file));
        let script = format!("steadfast() {{ printf '%s|' \"$KUBECONFIG\" \"$@\"; }}\n{command}");
        let told = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let told = String::from_utf8_lossy(&told.stdout);
        assert_eq!(told, "/home/o'neil/a b/dev.kubeconfig|sweep|--context|arn:aws:eks:eu-1:1:cluster/it's dev|");
        assert!(is_sweep_command(&command, Some(file)) && !is_sweep_command(&command, None));
        assert_eq!(sweep_command("kind-dev", None), "steadfast sweep --context kind-dev");
        assert_eq!(sweep_command(IN_CLUSTER, None), "steadfast sweep --cluster in-cluster");
    }
}
