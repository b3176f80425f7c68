//! The environment as a document sees it: the process's own, with what `.env` files say laid over it. Nothing here
//! changes the process's environment; whoever starts a process for the document hands it the overlay.

use std::collections::BTreeMap;

/// Environment variables for look-ups.
#[derive(Debug, Clone)]
pub(crate) struct Env {
    overlay: BTreeMap<String, String>,
    inherits: bool,
}

impl Env {
    /// The process's environment.
    pub(crate) fn of_process() -> Self {
        Env { overlay: BTreeMap::new(), inherits: true }
    }

    /// These variables and no others.
    pub(crate) fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let overlay = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Env { overlay, inherits: false }
    }

    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.overlay.insert(name.into(), value.into());
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        // `var_os` is asked for nothing that it would panic of or cannot hold.
        let own = || {
            let named = self.inherits && !name.is_empty() && !name.contains(['=', '\0']);
            named.then(|| std::env::var_os(name)).flatten().map(|value| value.to_string_lossy().into_owned())
        };
        self.overlay.get(name).cloned().or_else(own)
    }

    /// What is laid over the process's environment, for the processes of the document.
    pub(crate) fn overlay(&self) -> impl Iterator<Item = (&str, &str)> {
        self.overlay.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}
