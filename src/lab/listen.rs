//! The lab on loopback ports, so that `kubectl`, browsers and other people's clients can use it.
//!
//! No credentials are asked for, so all of it listens only on the loopback address. Against pages that make a browser
//! talk to it, the API server answers only to requests whose `Host`, as with `kubectl proxy`, and whose `Origin`, if
//! there is one, are loopback names. Prometheus and node ports answer whoever reaches them: they change nothing.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderValue, header};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tower::Service;

use super::Lab;
use super::fabric::{Destination, Fabric, OUTSIDE, PROMETHEUS, PROMETHEUS_PORT, Source};
use super::images::Tasks;
use super::resource::SERVICES;

/// How many bytes of a client are read before the lab has answered it.
const WAITING_BYTES: usize = 64 * 1024;

/// The ports to listen on; 0 is any free one.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    /// Of the API server.
    pub api: u16,
    /// Of Prometheus.
    pub prometheus: u16,
    /// Of node ports, by their number in the cluster; one that is not named here listens on its own number.
    pub node_ports: BTreeMap<u16, u16>,
}

/// A lab that listens, until this is dropped.
pub struct Listening {
    /// Where the API server is.
    pub api: SocketAddr,
    /// Where Prometheus is.
    pub prometheus: SocketAddr,
    /// Where the node ports of [`Ports::node_ports`] are.
    pub node_ports: BTreeMap<u16, SocketAddr>,
    tasks: Tasks,
    /// What listens is alive, whoever else has let go of it.
    _lab: Lab,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.tasks.end();
    }
}

impl Lab {
    /// Listens on loopback ports: the API server, Prometheus, and the node ports of services. Needs a runtime with
    /// I/O and a clock of real time.
    ///
    /// # Errors
    /// A port is taken; the error names it.
    pub async fn listen(&self, ports: &Ports) -> io::Result<Listening> {
        let tasks = Tasks::default();
        let (api, api_at) = bind(ports.api).await?;
        let (prometheus, prometheus_at) = bind(ports.prometheus).await?;
        let mut node_ports = BTreeMap::new();
        for (&port, &outside) in &ports.node_ports {
            let (listener, at) = bind(outside).await?;
            node_ports.insert(port, at);
            forward(self.fabric(), listener, To::NodePort(port), &tasks);
        }
        self.serve_api(api, &tasks);
        forward(self.fabric(), prometheus, To::Prometheus, &tasks);
        let (fabric, store, named) = (self.fabric().clone(), self.store().clone(), node_ports.clone());
        tasks.spawn(async move { follow_node_ports(&store, &fabric, &named).await });
        Ok(Listening { api: api_at, prometheus: prometheus_at, node_ports, tasks, _lab: self.clone() })
    }

    fn serve_api(&self, listener: TcpListener, tasks: &Tasks) {
        let (api, connections) = (self.api().clone(), tasks.clone());
        tasks.spawn(async move {
            loop {
                let Some(stream) = accept(&listener).await else { continue };
                let api = api.clone();
                let service = service_fn(move |request| {
                    let mut api = api.clone();
                    async move {
                        if is_loopback(request.headers()) {
                            api.call(request).await
                        } else {
                            Ok(super::api::foreign_host())
                        }
                    }
                });
                connections.spawn(async move {
                    let connection =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    // A connection that its client cuts is no event for a server.
                    let _ = connection.await;
                });
            }
        });
    }
}

async fn bind(port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("failed to listen on 127.0.0.1:{port}: {error}")))?;
    let at = listener.local_addr()?;
    Ok((listener, at))
}

/// The next connection; `None` if one was lost before it was taken.
async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => {
            // Small answers must not wait for more.
            let _ = stream.set_nodelay(true);
            Some(stream)
        }
        Err(_) => {
            // No descriptors left, for instance: others must get a turn to give theirs back.
            tokio::task::yield_now().await;
            None
        }
    }
}

fn is_loopback(headers: &HeaderMap) -> bool {
    let text = |header| headers.get(header).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    let from = |origin: &str| origin.split_once("://").is_some_and(|(_, host)| is_loopback_name(host));
    is_loopback_name(text(header::HOST).unwrap_or_default()) && text(header::ORIGIN).is_none_or(from)
}

fn is_loopback_name(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

/// Where connections to a port go.
#[derive(Clone, Copy)]
enum To {
    Prometheus,
    NodePort(u16),
}

fn forward(fabric: &Fabric, listener: TcpListener, to: To, tasks: &Tasks) {
    let (fabric, connections) = (fabric.clone(), tasks.clone());
    tasks.spawn(async move {
        loop {
            let Some(mut stream) = accept(&listener).await else { continue };
            let fabric = fabric.clone();
            connections.spawn(async move {
                let destination = match to {
                    To::Prometheus => Some(Destination::At(PROMETHEUS, PROMETHEUS_PORT)),
                    To::NodePort(port) => fabric.node_port(port),
                };
                let mut sent = Vec::new();
                let inner = async { fabric.connect_at(Source::Address(OUTSIDE), destination?).await.ok() };
                let inner = tokio::select! {
                    biased;
                    inner = inner => inner,
                    () = gone(&mut stream, &mut sent) => return,
                };
                let Some(mut inner) = inner else {
                    // Refused inside: the client is told at once, as by a port that nobody has.
                    let _ = stream.set_zero_linger();
                    return;
                };
                if inner.write_all(&sent).await.is_ok() {
                    // Either side may end it at any time.
                    let _ = copy_bidirectional(&mut stream, &mut inner).await;
                }
            });
        }
    });
}

/// Waits until the client hangs up, and keeps what it sends meanwhile: a connection that is denied inside must not
/// outlive the one that waits for it.
async fn gone(stream: &mut TcpStream, sent: &mut Vec<u8>) {
    while sent.len() < WAITING_BYTES {
        match stream.read_buf(sent).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    std::future::pending().await
}

struct EndOnDrop(Tasks);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Listens on every node port that services have and that was not given another port, as long as they have it.
async fn follow_node_ports(store: &super::store::Store, fabric: &Fabric, named: &BTreeMap<u16, SocketAddr>) {
    let mut changes = store.subscribe();
    let mut open: BTreeMap<u16, EndOnDrop> = BTreeMap::new();
    loop {
        let (services, _) = store.list(&SERVICES, None);
        let ports = services.iter().filter_map(|s| s["spec"]["ports"].as_array()).flatten();
        let wanted: Vec<u16> = ports
            .filter_map(|port| u16::try_from(port["nodePort"].as_u64()?).ok())
            .filter(|port| !named.contains_key(port))
            .collect();
        open.retain(|port, _| wanted.contains(port));
        for port in wanted {
            if open.contains_key(&port) {
                continue;
            }
            let listening = Tasks::default();
            match bind(port).await {
                Ok((listener, _)) => forward(fabric, listener, To::NodePort(port), &listening),
                Err(error) => {
                    crate::journal::complain(&format!("node port {port} is not reachable from here: {error}"))
                }
            }
            open.insert(port, EndOnDrop(listening));
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_answered() {
        let answered = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            is_loopback(&headers)
        };
        for host in ["127.0.0.1", "127.0.0.1:6443", "localhost:1", "localhost", "[::1]:80", "[::1]"] {
            assert!(answered(host), "{host}");
        }
        for host in ["", "evil.example", "evil.example:6443", "127.0.0.1.evil.example", "localhost.evil:1", "10.0.0.1"]
        {
            assert!(!answered(host), "{host}");
        }
        assert!(!is_loopback(&HeaderMap::new()));
        for (origin, expected) in [("http://localhost:8080", true), ("null", false), ("https://evil.example", false)] {
            let host = (header::HOST, HeaderValue::from_static("127.0.0.1:6443"));
            let headers = HeaderMap::from_iter([host, (header::ORIGIN, HeaderValue::from_static(origin))]);
            assert_eq!(is_loopback(&headers), expected, "{origin}");
        }
    }
}
