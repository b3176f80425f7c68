//! Where in its text each value of a document stands, and the order in which it was written: `serde_json`'s maps
//! are sorted, so both would be lost.

use std::fmt;

/// A place in a text: line and column from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// The marks of a value and of everything below it, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    pub(crate) mark: Mark,
    pub(crate) below: Below,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Below {
    #[default]
    Leaf,
    List(Vec<Marks>),
    Map(Vec<Entry>),
}

/// A key of a mapping, where it stands, and the marks of its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) mark: Mark,
    pub(crate) value: Marks,
}

impl Marks {
    /// The marks at `path`; none where the text has nothing there.
    pub(crate) fn get(&self, path: &Path) -> Option<&Marks> {
        path.steps.iter().try_fold(self, |marks, step| marks.step(step))
    }

    /// The mark of `path`, or of the nearest thing around it that the text has. A key's mark is where the key stands.
    pub(crate) fn nearest(&self, path: &Path) -> Mark {
        let (mut at, mut mark) = (self, self.mark);
        for step in &path.steps {
            let Some(next) = at.step(step) else { break };
            mark = match (&at.below, step) {
                (Below::Map(entries), Step::Key(key)) => {
                    entries.iter().find(|entry| entry.key == *key).map_or(next.mark, |entry| entry.mark)
                }
                _ => next.mark,
            };
            at = next;
        }
        mark
    }

    /// The keys of this mapping in the order of the text; none of anything else.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        let entries = match &self.below {
            Below::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(|entry| entry.key.as_str())
    }

    fn step(&self, step: &Step) -> Option<&Marks> {
        match (&self.below, step) {
            (Below::Map(entries), Step::Key(key)) => {
                entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.value)
            }
            (Below::List(items), Step::Item(index)) => items.get(*index),
            _ => None,
        }
    }
}

/// A JSON path of names and indexes only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Path {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Item(usize),
}

impl Path {
    /// The path of the whole document.
    pub(crate) fn root() -> Self {
        Path::default()
    }

    /// The path of `key` in the mapping here.
    pub(crate) fn key(&self, key: impl Into<String>) -> Path {
        self.and(Step::Key(key.into()))
    }

    /// The path of the item at `index` in the list here.
    pub(crate) fn item(&self, index: usize) -> Path {
        self.and(Step::Item(index))
    }

    fn and(&self, step: Step) -> Path {
        let mut steps = self.steps.clone();
        steps.push(step);
        Path { steps }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("$")?;
        for step in &self.steps {
            match step {
                Step::Item(index) => write!(out, "[{index}]")?,
                Step::Key(key) if plain(key) => write!(out, ".{key}")?,
                Step::Key(key) => write!(out, "[{}]", serde_json::Value::from(key.as_str()))?,
            }
        }
        Ok(())
    }
}

/// Whether a name can stand in a path without quotes.
fn plain(key: &str) -> bool {
    !key.is_empty()
        && key.chars().all(|one| one.is_alphanumeric() || one == '_' || one == '-')
        && !key.starts_with(|one: char| one.is_ascii_digit())
}
