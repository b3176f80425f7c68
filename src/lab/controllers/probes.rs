//! Probes of containers: over the fabric, from the node, so that no policy denies them.
//!
//! `httpGet` and `tcpSocket` are carried out. `exec` and `grpc` are not: their result is unknown, which leaves a
//! container not ready, not started and alive, as a kubelet does when it cannot probe.

use std::net::Ipv4Addr;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use serde_json::Value;

use crate::lab::fabric::{Fabric, Source};
use crate::transport::{Address, Connection, Failure, NoAnswer, Request, exchange};

/// What a probe decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Startup,
    Readiness,
    Liveness,
}

impl Role {
    /// `liveness`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        }
    }

    fn field(self) -> &'static str {
        match self {
            Self::Startup => "startupProbe",
            Self::Readiness => "readinessProbe",
            Self::Liveness => "livenessProbe",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// One probe of a container.
pub(super) struct Probe {
    pub(super) role: Role,
    /// How long the container may take to end when this probe ends it; else as the pod.
    pub(super) grace: Option<Duration>,
    action: Action,
    delay: Duration,
    period: Duration,
    timeout: Duration,
    successes: u64,
    failures: u64,
}

enum Action {
    Http {
        ip: String,
        port: Option<u16>,
        path: String,
        headers: HeaderMap,
        secure: bool,
    },
    Tcp {
        ip: String,
        port: Option<u16>,
    },
    /// What the lab cannot do, in words.
    Unknown(&'static str),
}

/// What one look came to.
enum Look {
    Passed,
    Failed(String),
    Unknown(String),
}

impl Probe {
    /// The probe of a container in a role, if it has one.
    pub(super) fn read(container: &Value, role: Role, ip: Ipv4Addr) -> Option<Self> {
        let probe = container[role.field()].as_object().map(|_| &container[role.field()])?;
        let number = |field: &str, default: u64| probe[field].as_u64().unwrap_or(default);
        let host = |action: &Value| action["host"].as_str().map_or_else(|| ip.to_string(), str::to_owned);
        let action = if let Some(http) = probe.get("httpGet") {
            let path = http["path"].as_str().unwrap_or("/");
            Action::Http {
                ip: host(http),
                port: port(container, &http["port"]),
                path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
                headers: headers(&http["httpHeaders"]),
                secure: http["scheme"] == "HTTPS",
            }
        } else if let Some(tcp) = probe.get("tcpSocket") {
            Action::Tcp { ip: host(tcp), port: port(container, &tcp["port"]) }
        } else if probe.get("exec").is_some() {
            Action::Unknown("the lab executes no commands in containers")
        } else {
            Action::Unknown("the lab does not probe by gRPC")
        };
        Some(Self {
            role,
            grace: probe["terminationGracePeriodSeconds"].as_u64().map(Duration::from_secs),
            action,
            delay: Duration::from_secs(number("initialDelaySeconds", 0)),
            period: Duration::from_secs(number("periodSeconds", 10).max(1)),
            timeout: Duration::from_secs(number("timeoutSeconds", 1).max(1)),
            successes: number("successThreshold", 1).max(1),
            failures: number("failureThreshold", 3).max(1),
        })
    }

    /// Looks again and again, first after the delay. `failed` is told of each look that did not pass; `decided` of
    /// each change, once the threshold is reached, and says whether that is all. Returns the last decision.
    pub(super) async fn follow(
        &self,
        fabric: &Fabric,
        mut failed: impl FnMut(String),
        mut decided: impl FnMut(bool) -> bool,
    ) -> bool {
        tokio::time::sleep(self.delay).await;
        // Alive until proved otherwise, ready and started only once proved.
        let mut decision = self.role == Role::Liveness;
        let mut run = (decision, 0);
        let start = tokio::time::Instant::now();
        for round in 1_u32.. {
            let passed = match self.look(fabric).await {
                Look::Passed => Some(true),
                Look::Failed(why) => {
                    failed(format!("{} probe failed: {why}", self.role.title()));
                    Some(false)
                }
                Look::Unknown(why) => {
                    failed(format!("{} probe errored and resulted in unknown state: {why}", self.role.title()));
                    None
                }
            };
            if let Some(passed) = passed {
                run = if run.0 == passed { (passed, run.1 + 1) } else { (passed, 1) };
                let threshold = if passed { self.successes } else { self.failures };
                // A startup probe decides against a container although nothing changes.
                let news = passed != decision || (self.role == Role::Startup && !passed);
                if run.1 >= threshold && news {
                    decision = passed;
                    let startup_failed = self.role == Role::Startup && !passed;
                    if decided(passed) || startup_failed {
                        return decision;
                    }
                }
            }
            tokio::time::sleep_until(start + self.period * round).await;
        }
        decision
    }

    async fn look(&self, fabric: &Fabric) -> Look {
        match &self.action {
            Action::Unknown(why) => Look::Unknown((*why).to_owned()),
            Action::Http { port: None, .. } | Action::Tcp { port: None, .. } => {
                Look::Unknown("couldn't find the named port".to_owned())
            }
            Action::Tcp { ip, port: Some(port) } => {
                let Ok(address) = ip.parse() else { return Look::Unknown(format!("no address {ip}")) };
                let why = match tokio::time::timeout(self.timeout, fabric.connect(Source::Node, address, *port)).await {
                    Ok(Ok(_)) => return Look::Passed,
                    Ok(Err(NoAnswer::Refused)) => "connect: connection refused",
                    Ok(Err(_)) | Err(_) => "i/o timeout",
                };
                Look::Failed(format!("dial tcp {ip}:{port}: {why}"))
            }
            Action::Http { ip, port: Some(port), path, headers, secure } => {
                let scheme = if *secure { "https" } else { "http" };
                let url = format!("{scheme}://{ip}:{port}{path}");
                let Ok(address) = ip.parse() else { return Look::Unknown(format!("no address {ip}")) };
                let answer = self.get(fabric, address, *port, path, headers);
                let why = match tokio::time::timeout(self.timeout, answer).await {
                    Ok(Ok(_)) if *secure => "http: server gave HTTP response to HTTPS client".to_owned(),
                    Ok(Ok(status)) if (200..400).contains(&status) => return Look::Passed,
                    Ok(Ok(status)) => return Look::Failed(format!("HTTP probe failed with statuscode: {status}")),
                    Ok(Err(Failure::NoAnswer(NoAnswer::Refused))) => {
                        format!("dial tcp {ip}:{port}: connect: connection refused")
                    }
                    Ok(Err(Failure::NoAnswer(NoAnswer::Reset))) => "EOF".to_owned(),
                    Ok(Err(other)) => other.to_string(),
                    Err(_) => "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned(),
                };
                Look::Failed(format!("Get {url:?}: {why}"))
            }
        }
    }

    async fn get(
        &self,
        fabric: &Fabric,
        ip: Ipv4Addr,
        port: u16,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<u16, Failure> {
        let stream = fabric.connect(Source::Node, ip, port).await?;
        let authority = format!("{ip}:{port}");
        let mut request = Request::new(Method::GET, Address::from(format!("http://{authority}{path}")));
        request.headers = headers.clone();
        let connection = Connection { stream: Box::new(stream), authority, path: path.to_owned() };
        Ok(exchange(connection, &request).await?.status)
    }
}

/// A port by number, or by the name that the container gives it.
fn port(container: &Value, port: &Value) -> Option<u16> {
    let number = match port.as_str() {
        Some(name) => {
            let mut ports = container["ports"].as_array().into_iter().flatten();
            ports.find(|port| port["name"] == name)?["containerPort"].as_u64()
        }
        None => port.as_u64(),
    };
    u16::try_from(number?).ok()
}

fn headers(wanted: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::USER_AGENT, HeaderValue::from_static("kube-probe/1.34"));
    headers.insert(http::header::ACCEPT, HeaderValue::from_static("*/*"));
    for header in wanted.as_array().into_iter().flatten() {
        let name = header["name"].as_str().and_then(|name| HeaderName::try_from(name).ok());
        let value = header["value"].as_str().and_then(|value| HeaderValue::from_str(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
