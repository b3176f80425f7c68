//! Which formats are asked for.

use std::collections::BTreeSet;
use std::fmt;

/// The variable that asks for formats.
pub(crate) const VARIABLE: &str = "STEADFAST_REPORT";

/// A format that a run's end can be told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Format {
    /// `junit.xml`.
    Junit,
    /// `report.md`, for a pull request.
    Markdown,
    /// `report.html`, of the feature `report`.
    Html,
    /// The summary of a step and annotations, where GitHub's variables are.
    Github,
    /// `summary.json`.
    Json,
}

/// All of them, by their words.
const WORDS: [(&str, Format); 5] = [
    ("junit", Format::Junit),
    ("markdown", Format::Markdown),
    ("html", Format::Html),
    ("github", Format::Github),
    ("json", Format::Json),
];

/// Turns off what is on by itself.
const NONE: &str = "none";

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) formats: BTreeSet<Format>,
}

/// A word that is no format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownFormat {
    place: String,
    word: String,
}

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, word } = self;
        let known: Vec<_> = WORDS.iter().map(|(known, _)| *known).collect();
        write!(f, "{place} asks for the report {word:?}, which there is not; known are {}, {NONE}", known.join(", "))
    }
}

impl Settings {
    /// What the environment asks for. What is on by itself on GitHub stays on unless `none` is asked for.
    pub(crate) fn from_env() -> (Self, Vec<String>) {
        let on_github = on_github() || crate::variables::path(STEP_SUMMARY).is_some();
        let (place, words) = match crate::variables::text(VARIABLE) {
            Some(asked) => (VARIABLE.to_owned(), asked.split(',').map(str::to_owned).collect()),
            None => match of_the_file() {
                Ok(asked) => asked,
                Err(why) => return (Self::of(VARIABLE, std::iter::empty(), on_github).0, vec![why]),
            },
        };
        let (settings, unknown) = Self::of(&place, words.iter().map(String::as_str), on_github);
        let mut complaints: Vec<_> = unknown.iter().map(ToString::to_string).collect();
        if settings.has(Format::Html) && !cfg!(feature = "report") {
            complaints.push(format!("{place} asks for html, which needs the feature `report` of steadfast"));
        }
        (settings, complaints)
    }

    /// By these words of `place`; each that is unknown is told, and the others count.
    pub(crate) fn of<'a>(
        place: &str,
        words: impl Iterator<Item = &'a str>,
        on_github: bool,
    ) -> (Self, Vec<UnknownFormat>) {
        let (mut formats, mut unknown, mut none) = (BTreeSet::new(), Vec::new(), false);
        for word in words.map(str::trim).filter(|word| !word.is_empty()) {
            match WORDS.iter().find(|(known, _)| *known == word) {
                Some((_, format)) => drop(formats.insert(*format)),
                None if word == NONE => none = true,
                None => unknown.push(UnknownFormat { place: place.to_owned(), word: word.to_owned() }),
            }
        }
        if on_github && !none {
            formats.insert(Format::Github);
        }
        (Self { formats }, unknown)
    }

    pub(crate) fn has(&self, format: Format) -> bool {
        self.formats.contains(&format)
    }

    /// Whether files are asked for, which then are in the index too.
    pub(crate) fn has_files(&self) -> bool {
        self.formats.iter().any(|format| *format != Format::Github)
    }
}

/// What the nearest `steadfast.toml` asks for, and where that stands.
#[cfg(feature = "report")]
fn of_the_file() -> Result<(String, Vec<String>), String> {
    let Some(path) = std::env::current_dir().ok().and_then(|folder| crate::settings::nearest(&folder)) else {
        return Ok(Default::default());
    };
    let place = format!("[report] of {}", path.display());
    let tables = crate::settings::tables(&path).map_err(|why| format!("{}: {why}", path.display()))?;
    let report = tables.get("report").cloned().unwrap_or_default();
    let keys = report.as_object().into_iter().flatten().map(|(key, _)| key);
    if let Some(unknown) = keys.into_iter().find(|key| *key != "formats") {
        return Err(format!("{place} has {unknown:?}, which means nothing; known is formats = [\"junit\"]"));
    }
    let words = match &report["formats"] {
        serde_json::Value::Null => Some(Vec::new()),
        formats => serde_json::from_value(formats.clone()).ok(),
    };
    let words = words.ok_or_else(|| format!("formats in {place} is no list of texts; write formats = [\"junit\"]"))?;
    Ok((place, words))
}

/// What the nearest `steadfast.toml` asks for is not read in this build: whoever asks is told.
#[cfg(not(feature = "report"))]
fn of_the_file() -> Result<(String, Vec<String>), String> {
    let folder = std::env::current_dir().ok();
    let file = folder.and_then(|folder| crate::settings::nearest(&folder));
    match file.filter(|file| crate::settings::has_table(file, "report")) {
        None => Ok(Default::default()),
        Some(file) => Err(format!(
            "[report] of {} is read only by builds with the feature `report`; set {VARIABLE}, for all tests in [env] of .cargo/config.toml",
            file.display()
        )),
    }
}

/// Where GitHub reads the summary of a step.
pub(super) const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Whether a workflow of GitHub reads our standard output.
pub(super) fn on_github() -> bool {
    crate::variables::text("GITHUB_ACTIONS").as_deref() == Some("true")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, on_github: bool) -> (Vec<Format>, usize) {
        let (settings, unknown) = Settings::of(VARIABLE, text.split(','), on_github);
        (settings.formats.into_iter().collect(), unknown.len())
    }

    #[test]
    fn words_ask_for_formats() {
        assert_eq!(of("", false), (vec![], 0));
        assert_eq!(of("junit, markdown,,json", false), (vec![Format::Junit, Format::Markdown, Format::Json], 0));
        assert_eq!(of("", true), (vec![Format::Github], 0));
        assert_eq!(of("none,html", true), (vec![Format::Html], 0));
        assert_eq!(of("JUnit,html", false), (vec![Format::Html], 1));
    }

    #[test]
    fn an_unknown_word_is_told_with_the_known_ones() {
        let (_, unknown) = Settings::of(VARIABLE, ["sarif"].into_iter(), false);
        let told = "STEADFAST_REPORT asks for the report \"sarif\", which there is not; known are junit, markdown, html, \
github, json, none";
        assert_eq!(unknown[0].to_string(), told);
    }
}
