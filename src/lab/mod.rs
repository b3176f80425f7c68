//! The lab.
pub mod resource;
pub mod status;
pub mod store;
