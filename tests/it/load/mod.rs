//! The load generator: exact in virtual time, on its own threads over sockets, and clear about what went wrong.

mod lab;
pub mod server;
mod sockets;
