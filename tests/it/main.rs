//! Tests on the embedded lab, in one binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod addresses;
mod alerts;
mod bad_input;
#[cfg(feature = "cli")]
mod command;
mod compare;
mod counted;
#[cfg(all(feature = "cli", target_os = "linux"))]
mod crash;
#[cfg(all(feature = "cli", target_os = "linux"))]
mod documents;
mod experiment;
// As it is exported.
#[rustfmt::skip]
mod exported;
#[cfg(feature = "cli")]
mod exporting;
#[cfg(feature = "cli")]
mod fuzz;
#[cfg(feature = "goose")]
mod goose;
mod guards;
mod hold;
mod impair;
mod lab;
mod lab4;
mod load;
mod network;
mod observability;
mod prometheus;
mod properties;
mod rbac;
mod readme;
mod recovers;
mod recovery;
#[cfg(all(feature = "cli", target_os = "linux"))]
#[path = "../replay/mod.rs"]
mod replay;
mod report;
mod run;
mod safeguard;
mod series;
mod support;
mod telemetry;
mod tidy;
mod time;
mod ui;
mod undone;
mod vegeta;
#[cfg(all(feature = "cli", target_os = "linux"))]
mod view;
mod witness;
