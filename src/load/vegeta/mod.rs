//! vegeta's formats: results in gob, JSON and CSV, target files, rates, reports.
//!
//! For the command `steadfast vegeta` and for whoever reads vegeta's files from code. What vegeta 12 writes is read,
//! and what is written here it reads. Everything streams, and nothing here does more than read a `Read` and write a
//! `Write`: a results file of any length needs the memory of one record.
//!
//! ```
//! use steadfast::load::vegeta::{Decoder, Encoder, Encoding, Record};
//!
//! let record = Record { code: 200, url: "http://127.0.0.1/".into(), ..Record::default() };
//! let mut file = Vec::new();
//! Encoder::new(Encoding::Gob, &mut file).write(&record)?;
//!
//! let (mut results, mut read) = (Decoder::detect(file.as_slice())?, Record::default());
//! assert!(results.read(&mut read)?);
//! assert_eq!(read, record);
//! assert!(!results.read(&mut read)?, "there was one");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod csv;
mod duration;
mod gob;
mod json;
mod rate;
mod record;
pub mod report;
mod results;
mod size;
mod targets;

pub use duration::{duration_text, parse_duration};
pub use rate::{Rate, RateError};
pub use record::Record;
pub use results::{Decoder, Encoder, Encoding, ResultsError};
pub use size::parse_size;
pub use targets::{Defaults, Format, Target, TargetError, Targets, parse_header};
