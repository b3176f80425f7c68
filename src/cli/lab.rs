//! `steadfast lab`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::BoxError;
use crate::clock::{Clock, Seed};
use crate::cluster::{Cluster, SHOP_IMAGE, SHOP_NODE_PORT};
use crate::journal::JournalError;
use crate::lab::{Lab, Ports, TargetLabels};
use crate::publish::folder;

/// The lab with the shop, listening on loopback.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  steadfast lab
  steadfast lab --kubeconfig lab.yaml --front-port 30080 --prometheus-port 9090
  kubectl --kubeconfig target/steadfast/lab/kubeconfig get pods")]
pub(super) struct Options {
    /// Where to write the kubeconfig; it has the one context `steadfast-lab` [default: target/steadfast/lab/kubeconfig]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The port of the API server; 0 is any free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    api_port: u16,
    /// The port of Prometheus; 0 is any free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    prometheus_port: u16,
    /// The port of the shop's front; 0 is any free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    front_port: u16,
    /// Labels series by `namespace` and `pod` too, as in tests: for tests that run on this lab from another process
    #[arg(long)]
    all_labels: bool,
    /// How often Prometheus scrapes, for instance `2s` or `500ms`
    #[arg(long, default_value = "2s", value_name = "DURATION", value_parser = duration)]
    scrape: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| "give a number and its unit, such as 2s or 500ms")?;
    let parsed = Duration::try_from(parsed).map_err(|_| "it is negative".to_owned())?;
    if parsed < Duration::from_millis(10) { Err("it is shorter than 10ms".into()) } else { Ok(parsed) }
}

/// Runs it until SIGINT or SIGTERM.
pub(super) fn run(options: &Options) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(serve(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &BoxError) -> ExitCode {
    eprintln!("steadfast lab: {error}");
    super::Exit::of(&**error).into()
}

async fn serve(options: &Options) -> Result<(), BoxError> {
    // Before anything else: a signal that comes early must not be lost.
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (clock, seed) = (Clock::real(), Seed::from_env()?);
    let lab = Lab::told_apart(options.scrape, clock.clone(), seed);
    // As with the plain list of targets that small clusters have.
    lab.label_targets(if options.all_labels { TargetLabels::All } else { TargetLabels::JobAndInstance });
    let node_ports = BTreeMap::from([(SHOP_NODE_PORT, options.front_port)]);
    let ports = Ports { api: options.api_port, prometheus: options.prometheus_port, node_ports };
    let listening =
        lab.listen(&ports).await.map_err(|error| format!("{error}; give another port, or 0 for any free one"))?;
    let kubeconfig = options.kubeconfig.clone().unwrap_or_else(|| folder("lab").join("kubeconfig"));
    let kubeconfig = std::path::absolute(kubeconfig)?;
    write_kubeconfig(&kubeconfig, listening.api)?;
    // The lab ends with its last clone.
    let cluster = Cluster::on_lab(lab, clock, seed, "lab");
    crate::shop(&cluster).await?;

    let url = |at: Option<&SocketAddr>| at.map(|at| format!("http://{at}"));
    let ready = json!({
        "kubeconfig": kubeconfig, "api": url(Some(&listening.api)), "prometheus": url(Some(&listening.prometheus)),
        "front": url(listening.node_ports.get(&SHOP_NODE_PORT)), "image": SHOP_IMAGE,
    });
    writeln!(io::stdout(), "{ready}")?;
    eprintln!("The lab is ready: KUBECONFIG={} kubectl get pods; Ctrl-C ends it.", kubeconfig.display());
    tokio::select! {
        biased;
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
    drop(cluster);
    Ok(())
}

fn write_kubeconfig(path: &Path, api: SocketAddr) -> Result<(), BoxError> {
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "steadfast-lab",
        "clusters": [{"name": "steadfast-lab", "cluster": {"server": format!("http://{api}")}}],
        "users": [{"name": "steadfast-lab", "user": {}}],
        "contexts": [{"name": "steadfast-lab", "context": {"cluster": "steadfast-lab", "user": "steadfast-lab"}}],
    });
    let text = serde_json::to_string_pretty(&text)? + "\n";
    crate::journal::write_atomically(path, text.as_bytes()).map_err(|error| {
        let JournalError::File { source, .. } = error else { return error.into() };
        format!("failed to write {}: {source}; name a file that can be written with --kubeconfig", path.display())
            .into()
    })
}
