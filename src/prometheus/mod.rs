//! Assertions on Prometheus series that are right or say that they do not know.
//!
//! A [`Counter`] is judged on raw samples with their true scrape times, over a window that is anchored to what
//! happened in the run, once the target has been scraped after it. Promises: no data, stale data, a target that is
//! down, NaN and a server that does not answer are inconclusive, never met.

mod client;
#[cfg(feature = "testcontainers")]
mod container;
mod counter;
mod decode;
mod growth;
mod settle;
mod value;

pub use client::Prometheus;
#[cfg(feature = "testcontainers")]
pub use container::{ContainerError, PrometheusContainer};
pub use counter::{Counter, CounterGrowth};
pub use growth::{Growth, SeriesGrowth};
pub use value::{InstantValue, RangeValues};
