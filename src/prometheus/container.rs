//! A Prometheus in a container of this machine, for tests of what runs on this machine too.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use serde_json::json;
use testcontainers::core::WaitFor;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt, TestcontainersError};

use super::Prometheus;

/// The image, as its name and tag.
const IMAGE: (&str, &str) = ("prom/prometheus", "v2.42.0");

/// Its configuration, inside.
const CONFIG: &str = "/steadfast-prometheus.yml";

/// How often it scrapes, in seconds.
const SCRAPE_SECONDS: u32 = 1;

/// A Prometheus that scrapes one target every second, in a container that goes away with this value.
///
/// It is on the network of the host, so that it reaches what listens on a loopback port, and listens on a free
/// loopback port itself. Its image `prom/prometheus:v2.42.0` is pulled if this machine does not have it. Needs Linux and
/// a Docker engine on this machine, and a tokio runtime in real time around it, when it is dropped too.
#[must_use = "the container ends when this is dropped"]
pub struct PrometheusContainer {
    container: ContainerAsync<GenericImage>,
    at: SocketAddr,
}

/// A container that is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// This machine gives no port.
    #[error("no loopback port can be had for Prometheus: {0}")]
    NoPort(#[source] std::io::Error),
    /// Docker does not do it.
    #[error("failed to {doing} a container of {}:{}: {source}; does a Docker engine run here?", IMAGE.0, IMAGE.1)]
    Docker {
        /// `start`, `remove`.
        doing: &'static str,
        /// Why.
        source: Box<TestcontainersError>,
    },
}

impl ContainerError {
    fn docker(doing: &'static str) -> impl FnOnce(TestcontainersError) -> Self {
        move |source| Self::Docker { doing, source: Box::new(source) }
    }
}

impl PrometheusContainer {
    /// Starts one that scrapes `/metrics` of `target`, `127.0.0.1:8000` for instance, as `job`; returns when it answers.
    ///
    /// # Errors
    /// No Docker engine answers, the image cannot be had, or it does not start within a minute.
    pub async fn scraping(job: &str, target: &str) -> Result<Self, ContainerError> {
        // Free now, and soon taken: Docker gives no port of its own on the host's network.
        let at = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let at = at.map_err(ContainerError::NoPort)?;
        // JSON is YAML, and quotes whatever comes.
        let config = json!({
            "global": {"scrape_interval": format!("{SCRAPE_SECONDS}s"), "scrape_timeout": format!("{SCRAPE_SECONDS}s")},
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [target]}]}],
        });
        let image = GenericImage::new(IMAGE.0, IMAGE.1)
            .with_wait_for(WaitFor::message_on_stderr("Server is ready to receive web requests"))
            .with_network("host")
            .with_copy_to(CONFIG, config.to_string().into_bytes())
            .with_cmd([
                format!("--config.file={CONFIG}"),
                format!("--web.listen-address={at}"),
                "--storage.tsdb.path=/tmp/prometheus".to_owned(),
            ]);
        let container = image.start().await.map_err(ContainerError::docker("start"))?;
        Ok(Self { container, at })
    }

    /// Where it listens.
    #[must_use]
    pub fn at(&self) -> SocketAddr {
        self.at
    }

    /// Its client, for probes.
    pub fn client(&self) -> Prometheus {
        Prometheus::new(format!("http://{}", self.at))
    }

    /// Ends it, and waits until it has gone.
    ///
    /// # Errors
    /// Docker does not remove it.
    pub async fn remove(self) -> Result<(), ContainerError> {
        self.container.rm().await.map_err(ContainerError::docker("remove"))
    }
}
