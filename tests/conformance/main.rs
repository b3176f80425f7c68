//! What a cluster must do, whichever it is: asserted only through `kube::Client`, HTTP and the Prometheus API.
//!
//! `cargo test` runs it on the embedded lab in virtual time, `STEADFAST_CLUSTER=kind cargo test --test conformance` on a
//! real one. Where the two differ the lab is wrong. Each case says where its expectation was observed: "seen on 1.34.4"
//! is a kind cluster of one node with Kubernetes 1.34.4, policies enforced in the kernel, and Prometheus 2.42.

mod access;
mod deletion;
mod experiments;
mod faults;
mod fixtures;
mod metrics;
mod network;
mod objects;
mod support;
mod undo;
mod watches;
mod workloads;
