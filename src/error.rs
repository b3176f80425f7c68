//! The error of a test.

use std::error::Error as StdError;
use std::fmt;

use crate::BoxError;
use crate::journal::text::printed_lines;

/// Whatever a test fails with. `?` takes any error, of this crate or of another, and text.
///
/// Like other types of its kind it is no [`std::error::Error`] itself: then nothing else could be turned into it. What it
/// was made of is found by [`downcast_ref`](Self::downcast_ref).
///
/// ```
/// # use steadfast::prelude::*;
/// fn port(text: &str) -> steadfast::Result<u16> {
///     let port = text.parse()?;
///     if port == 0 {
///         return Err(format!("{text} is no port").into());
///     }
///     Ok(port)
/// }
/// assert_eq!(port("x").unwrap_err().to_string(), "invalid digit found in string");
/// assert_eq!(port("0").unwrap_err().to_string(), "0 is no port");
/// ```
pub struct Error(BoxError);

impl Error {
    /// The error that this was made of, if it is of that type.
    #[must_use]
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }

    /// The error that this was made of.
    #[must_use]
    pub fn inner(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.0
    }
}

impl<E: Into<BoxError>> From<E> for Error {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// libtest prints an error by its `Debug`: people should read the message, and what is behind it where that says more.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = self.0.to_string();
        f.write_str(&printed_lines(&told))?;
        let mut cause = self.0.source();
        while let Some(behind) = cause {
            let text = behind.to_string();
            if !told.contains(&text) {
                write!(f, "\n  because: {}", printed_lines(&text))?;
            }
            (told, cause) = (format!("{told}{text}"), behind.source());
        }
        Ok(())
    }
}

/// What a test returns.
pub type Result<T = ()> = std::result::Result<T, Error>;
