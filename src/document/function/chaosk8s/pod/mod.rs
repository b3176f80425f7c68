//! `chaosk8s.pod`.

mod exec;
mod found;
mod logs;
mod pick;
mod state;
mod terminate;

use super::{Call, Failed, Stage};

pub(super) use logs::read_pod_logs;
pub(crate) use logs::selector_of as log_selector;
pub(super) use pick::Pick;
pub(super) use state::{all_pods_healthy, pod_is_not_available};
pub(super) use terminate::terminate;
pub(in super::super) use {
    exec::ACTIONS as EXEC, found::PROBES as FOUND, logs::PROBES as LOGS, state::PROBES as STATE,
    terminate::ACTIONS as TERMINATE,
};
