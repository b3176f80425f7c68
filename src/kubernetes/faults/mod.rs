//! The faults, one file each: what it does, how it is seen and undone, and the method that makes it.

mod blackhole;
mod change;
mod cordon;
mod create;
mod delete_pods;
mod deny;
mod impair;
mod scale;

pub use blackhole::Blackhole;
pub use cordon::Cordon;
pub use delete_pods::DeletePods;
pub use deny::{DenyTraffic, Direction};
pub use impair::Impair;
pub use scale::Scale;
