//! Patches of objects, and who owns their fields.
//!
//! Pure functions on JSON: the API calls them under the store's lock. [`json`] and [`strategic`] make an object of an
//! object and a patch; [`managed`] does server-side apply and keeps `metadata.managedFields` for every other write;
//! [`schema`] knows how the lists and maps of each kind are merged.

pub(crate) mod fields;
pub(crate) mod go;
pub(crate) mod json;
pub(crate) mod managed;
pub(crate) mod schema;
pub(crate) mod strategic;
mod typed;

#[cfg(test)]
mod tests;
