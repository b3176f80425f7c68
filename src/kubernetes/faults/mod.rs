//! The faults, one file each: what it does, how it is seen and undone, and the method that makes it.

mod blackhole;
mod change;
mod change_object;
mod cordon;
mod create;
mod create_object;
mod delete_object;
mod delete_pods;
mod deny;
mod effect;
mod evict;
mod impair;
mod policy;
mod scale;

pub use blackhole::Blackhole;
pub use change_object::{ChangeObject, ObjectPatch};
pub use cordon::Cordon;
pub use create_object::CreateObject;
pub use delete_object::DeleteObject;
pub use delete_pods::DeletePods;
pub use deny::{DenyTraffic, Direction};
pub use evict::EvictPods;
pub use impair::Impair;
pub use scale::Scale;
