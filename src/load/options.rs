//! How a load connects, and what it keeps: optional, chained.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderName;

use super::connect::{Names, Trust, Version};
use super::{Load, Record, Records, records};

/// How long a request waits for its answer, unless it is said.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How many requests may be under way; more wait, and their latency counts from the intended instant.
const IN_FLIGHT: usize = 1000;

/// How many requests may wait for a connection, unless it is said.
const WAITING: usize = 100_000;

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) keep_alive: bool,
    pub(super) timeout: Duration,
    pub(super) redirects: Option<u32>,
    pub(super) version: Version,
    pub(super) names: Names,
    pub(super) trust: Trust,
    pub(super) identity: Option<(PathBuf, PathBuf)>,
    pub(super) resume: bool,
    pub(super) unix: Option<PathBuf>,
    pub(super) local: Option<IpAddr>,
    pub(super) connections: usize,
    pub(super) in_flight: usize,
    pub(super) idle: usize,
    pub(super) waiting: usize,
    pub(super) keep: u64,
    pub(super) number_header: Option<HeaderName>,
    pub(super) threads: Option<usize>,
    pub(super) share: (u64, u64),
    /// Taken by the first run, so that the channel ends with it.
    pub(super) records: Arc<Mutex<Option<SyncSender<Vec<Record>>>>>,
    pub(super) wrong: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep_alive: false,
            timeout: TIMEOUT,
            redirects: None,
            version: Version::Http1,
            names: Names::OncePerRun,
            trust: Trust::Machine,
            identity: None,
            resume: false,
            unix: None,
            local: None,
            connections: usize::MAX,
            in_flight: IN_FLIGHT,
            idle: usize::MAX,
            waiting: WAITING,
            keep: 0,
            number_header: None,
            threads: None,
            share: (0, 1),
            records: Arc::default(),
            wrong: None,
        }
    }
}

impl Load {
    /// How long a request waits for its answer once it is sent, 30 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// Uses connections again, as a browser does; by default each request has a new one.
    ///
    /// Not in an experiment that cuts off pods: a network policy lets established connections live on most clusters,
    /// so that requests on them would not see the fault. HTTP/2 keeps its connections in any case.
    pub fn keep_alive(mut self) -> Self {
        self.options.keep_alive = true;
        self
    }

    /// How many connections there may be to each host, 1000 by default; more requests wait.
    pub fn connections(mut self, most: usize) -> Self {
        self.options.connections = self.positive(most, "connections");
        self
    }

    /// How many requests may be under way at once to each host, 1000 by default; more wait.
    pub fn in_flight(mut self, most: usize) -> Self {
        self.options.in_flight = self.positive(most, "requests in flight");
        self
    }

    /// How many idle connections are kept to each host.
    pub fn idle_connections(mut self, most: usize) -> Self {
        self.options.idle = most;
        self
    }

    /// How many requests may wait for a connection, 100,000 by default. More are not sent, and the load is invalid.
    pub fn waiting(mut self, most: usize) -> Self {
        self.options.waiting = most;
        self
    }

    fn positive(&mut self, most: usize, of: &str) -> usize {
        if most == 0 {
            self.options.wrong = Some(format!("it may have no {of}; allow one at least"));
        }
        most.max(1)
    }

    /// Follows so many redirects, to other hosts too; by default a redirect is the answer.
    pub fn redirects(mut self, most: u32) -> Self {
        self.options.redirects = Some(most);
        self
    }

    /// Which version of HTTP is spoken, HTTP/1.1 by default. On the lab it is always that.
    pub fn version(mut self, version: Version) -> Self {
        self.options.version = version;
        self
    }

    /// When names are looked up: once by default.
    pub fn names(mut self, names: Names) -> Self {
        self.options.names = names;
        self
    }

    /// Which TLS servers are believed, by default those that the machine's roots vouch for.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.options.trust = trust;
        self
    }

    /// Shows a client certificate: PEM files of its chain and of its key.
    pub fn identity(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.options.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Resumes TLS sessions; by default each handshake is a whole one.
    pub fn resume_sessions(mut self) -> Self {
        self.options.resume = true;
        self
    }

    /// Connects to a unix socket, whatever host the address names.
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.unix = Some(path.into());
        self
    }

    /// The address that connections come from.
    pub fn local_address(mut self, address: IpAddr) -> Self {
        self.options.local = Some(address);
        self
    }

    /// Sends the request's number in a header.
    pub fn number_header(mut self, name: HeaderName) -> Self {
        self.options.number_header = Some(name);
        self
    }

    /// How many bytes of each answer's body records have, none by default.
    pub fn keeping(mut self, bytes: u64) -> Self {
        self.options.keep = bytes;
        self
    }

    /// How many threads send over real sockets; by default as many as there are processors but one, up to 4.
    pub fn threads(mut self, threads: usize) -> Self {
        self.options.threads = Some(self.positive(threads, "threads"));
        self
    }

    /// Sends only the requests i with i ≡ k (mod n): one of n processes, whose recordings
    /// [merge](super::Recording::merge) into that of the whole.
    pub fn share(mut self, k: u64, n: u64) -> Self {
        if k >= n {
            self.options.wrong = Some(format!("there is no share {k} of {n}; count from 0"));
        }
        self.options.share = (k.min(n.saturating_sub(1)), n.max(1));
        self
    }

    /// Each request in full as it ends, beside the recording, of the first run. Records that nobody takes in time are counted as lost;
    /// they never hold up the load.
    #[must_use = "records that nobody takes are lost"]
    pub fn records(mut self) -> (Self, Records) {
        let (sender, receiver) = records::channel();
        self.options.records = Arc::new(Mutex::new(Some(sender)));
        (self, receiver)
    }
}
