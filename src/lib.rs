//! Resilience experiments on Kubernetes, written as Rust tests.
//!
//! An experiment says what must hold, injects faults under load, and comes to a verdict. It runs from `cargo test`:
//! on an embedded lab in milliseconds of virtual time with nothing installed, or on a real cluster. Whatever
//! happens, the faults are undone and a journal is written; without evidence the verdict is never "met".
//!
//! ```
//! use steadfast::prelude::*;
//!
//! steadfast::block_on(async |cluster| {
//!     steadfast::shop(&cluster).await?;
//!     let shop = cluster.namespace("default");
//!     let front = shop.service("front").url("/");
//!     let failed_calls = shop.prometheus().counter("failed_call_total").label("job", "front").label("to", "middle");
//!     let traffic = load::get(&front).per_second(10).lasting(secs(10)).named("traffic");
//!
//!     let served = Hypothesis::new("customers are served and no call to middle fails")
//!         .check(http::get(&front).expect(status(200)))
//!         .check(failed_calls.growth().expect(at_most(0.0)));
//!
//!     let journal = Experiment::new("front keeps working when back is cut off", served)
//!         .background(&traffic)
//!         .pause(secs(5))
//!         .inject(shop.pods("app=back").deny_ingress())
//!         .pause(secs(5))
//!         .act(traffic.plot_to("traffic.html"))
//!         .act(shop.pods("app=front").logs().since(secs(10)))
//!         .run(&cluster)
//!         .await?;
//!
//!     journal.assert_verdict(Deviated);
//!     Ok(())
//! });
//! ```
//!
//! The way of the data is the order of the modules: an [`experiment`] is planned, its faults ([`kubernetes`]) are
//! injected under [`load`], the system is observed ([`http`], [`process`], [`prometheus`]) and judged ([`tolerance`]),
//! everything is undone ([`rollback`]) and written down ([`journal`]). [`cluster`] says where it runs, [`lab`] is the
//! embedded one, [`transport`] the seam to a network, [`clock`] the only source of time and chance.
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(windows)]
compile_error!(
    "steadfast needs a Unix: its processes, signals and ledger locks have no counterpart on Windows; use WSL"
);

#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
#[cfg(feature = "kubernetes")]
pub mod cluster;
#[cfg(feature = "cli")]
mod document;
mod error;
pub mod experiment;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod journal;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
#[cfg(feature = "lab")]
pub mod lab;
#[cfg(feature = "load")]
pub mod load;
#[cfg(feature = "kubernetes")]
mod observability;
#[cfg(any(feature = "load", feature = "report"))]
mod page;
pub mod prelude;
pub mod process;
#[cfg(feature = "prometheus")]
pub mod prometheus;
#[cfg_attr(not(feature = "kubernetes"), expect(dead_code, reason = "without clusters no run ends by itself"))]
mod publish;
mod redaction;
pub mod report;
pub mod rollback;
#[cfg(feature = "shop")]
#[doc(hidden)]
pub mod services;
mod settings;
pub mod tolerance;
pub mod transport;
mod variables;

#[cfg(feature = "lab")]
pub use cluster::{block_on, shop};
pub use error::{Error, Result};
#[cfg(feature = "macros")]
pub use steadfast_macros::test;

/// The examples of README.md, so that they are compiled.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// What user code may fail with: any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the macros of this crate expand to.
#[doc(hidden)]
pub mod private {
    #[cfg(feature = "insta")]
    pub use insta;
}

/// Compares the stable form of a journal with its snapshot, as `insta::assert_snapshot!` does.
#[cfg(feature = "insta")]
#[macro_export]
macro_rules! assert_journal {
    ($journal:expr) => {
        $crate::private::insta::assert_snapshot!($journal.stable())
    };
}

/// Compares the stable form of a journal with its snapshot.
#[cfg(not(feature = "insta"))]
#[macro_export]
macro_rules! assert_journal {
    ($journal:expr) => {
        compile_error!("`assert_journal!` needs the feature `insta` of steadfast")
    };
}
