//! Chaos Toolkit documents: loading them, judging their form, and running them.
//!
//! [`source`] makes a value of a text and knows where everything stands, [`validate`] says what is wrong with it (all
//! of it, the original's first error first), [`activity`] is what a runner sees of it. [`configuration`] and
//! [`secrets`] are resolved out of the environment, [`substitute`] puts them in; [`redact`] keeps the secrets out of
//! whatever is shown or written. [`plan`] says what a document would do, [`export`] makes Rust of it, and [`run`] conducts it,
//! by [`provider`]s and the native [`function`]s; a [`tolerance`] judges what a probe returned. [`controls`] are called
//! before and after each part of it, [`python`] runs what is not native if the user allows it, and [`notifications`] tell
//! others; the [`settings_file`] has such for all documents.

pub(crate) mod activity;
pub(crate) mod configuration;
pub(crate) mod controls;
mod convert;
pub(crate) mod environment;
pub(crate) mod export;
pub(crate) mod function;
pub(crate) mod hash;
pub(crate) mod invalid;
mod journal;
mod load;
pub(crate) mod marks;
pub(crate) mod notifications;
mod outside;
pub(crate) mod plan;
pub(crate) mod provider;
pub(crate) mod py;
pub(crate) mod python;
pub(crate) mod redact;
pub(crate) mod run;
pub(crate) mod secrets;
pub(crate) mod settings_file;
pub(crate) mod source;
pub(crate) mod substitute;
pub(crate) mod tolerance;
mod unknown;
pub(crate) mod validate;
pub(crate) mod variables;
pub(crate) mod when;

pub(crate) use load::{Asked, Loaded, judge_form, load};
pub(crate) use outside::Purpose;
