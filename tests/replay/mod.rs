//! Documents with what is expected of them: reading, running and comparing them, whoever says what is expected.

pub mod compare;
pub mod seen;
mod server;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub use compare::differences;
pub use seen::{Program, Seen, get};
pub use server::Server;

/// What a document needs: a server.
#[derive(Clone, Debug)]
pub struct Served {
    /// `host:port`.
    pub address: String,
}

/// One document, with what is expected of it.
pub struct Case {
    pub name: String,
    pub expected: Value,
    pub folder: PathBuf,
}

impl Case {
    pub fn field(&self, name: &str) -> &Value {
        &self.expected[name]
    }

    /// All of a folder, by their names.
    pub fn all(folder: &Path) -> Vec<Self> {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".expected.json").map(str::to_owned))
            .collect();
        names.sort();
        let read = |name: String| {
            let text = std::fs::read_to_string(folder.join(format!("{name}.expected.json"))).expect("it is read");
            let expected = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}.expected.json: {error}"));
            Self { expected, name, folder: folder.to_owned() }
        };
        names.into_iter().map(read).collect()
    }

    /// The file of the document.
    pub fn document(&self) -> PathBuf {
        match self.field("experiment").as_str() {
            Some(name) => self.folder.join(name),
            None => {
                let by = |extension: &str| self.folder.join(format!("{}.{extension}", self.name));
                Some(by("yaml")).filter(|file| file.is_file()).unwrap_or_else(|| by("json"))
            }
        }
    }

    /// The strings of a list, with the places of this machine in them.
    fn words(&self, name: &str, served: &Served) -> Vec<String> {
        let all = self.field(name).as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(|word| self.placed(word, served)).collect()
    }

    fn placed(&self, text: &str, served: &Served) -> String {
        text.replace("<cases>", &self.folder.to_string_lossy()).replace("<url>", &format!("http://{}", served.address))
    }
}
