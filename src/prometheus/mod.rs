//! Assertions on Prometheus series that are right or say that they do not know.
//!
//! A [`Counter`] is judged on raw samples with their true scrape times, over a window that is anchored to what
//! happened in the run, once the target has been scraped after it. Promises: no data, stale data, a target that is
//! down, NaN and a server that does not answer are inconclusive, never met. An [`Alert`] is judged by its rule's own
//! evaluations; one without a rule is inconclusive.

mod access;
mod alert;
mod ask;
mod blame;
mod client;
#[cfg(feature = "testcontainers")]
mod container;
mod counter;
mod decode;
mod each;
mod examine;
mod gauge;
mod growth;
mod histogram;
mod native;
mod ratio;
mod recovers;
mod rules;
mod selection;
mod settle;
mod stays;
#[cfg(test)]
mod tests;
mod timeline;
mod value;
mod window;

pub use alert::{Alert, AlertCheck};
pub use client::Prometheus;
#[cfg(feature = "testcontainers")]
pub use container::{ContainerError, PrometheusContainer};
pub use counter::{Counter, CounterGrowth, CounterRate, Rate, SeriesRate};
pub use each::{Each, JudgedEach, PerSeries};
pub use gauge::{Gauge, GaugeValue, GaugeValues, SeriesValue};
pub use growth::{At, FaultOn, Growth, SeriesGrowth, Time};
pub use histogram::{Histogram, HistogramQuantile, Quantile};
pub use ratio::{CounterRatio, Ratio, ratio};
pub use recovers::StopsWithin;
pub use stays::{RecoversWithin, Stays};
pub use value::{InstantValue, Number, RangeValues};
