//! Resilience experiments on Kubernetes, written as Rust tests.
#![warn(missing_docs)]

pub mod clock;
#[cfg(feature = "kubernetes")]
pub mod cluster;
mod error;
pub mod experiment;
pub mod journal;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
#[cfg(feature = "lab")]
pub mod lab;
#[cfg(feature = "prometheus")]
pub mod prometheus;
pub mod rollback;
pub mod tolerance;
pub mod transport;

pub use error::{Error, Result};

/// What user code may fail with: any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
