//! `steadfast kind`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::Exit;
use crate::BoxError;
use crate::cluster::{Cluster, Kind};
use crate::rollback::quoted;

/// A kind cluster of this machine, as tests with `STEADFAST_CLUSTER=kind[:NAME]` have it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  eval \"$(steadfast kind up)\"
  steadfast kind down")]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Makes the cluster if it is absent, starts it if it is stopped, and brings the images of the witness and the shop.
    ///
    /// Prints `export KUBECONFIG=…` of a file of its own, so that `eval "$(steadfast kind up)"` brings kubectl there.
    #[command(after_help = "Examples:
  eval \"$(steadfast kind up)\"
  steadfast kind up chaos --config two-nodes.yaml")]
    Up {
        /// Its name
        #[arg(default_value = DEFAULT_NAME)]
        name: String,
        /// The kind configuration [default: kind-config.yaml of this folder, else one node with ports 30080 and 30090]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The node image [default: STEADFAST_KIND_IMAGE, else kind's own]
        #[arg(long)]
        image: Option<String>,
    },
    /// Deletes the cluster, its kubeconfig and what is remembered of it. One that is not there is no error.
    #[command(after_help = "Examples:\n  steadfast kind down\n  steadfast kind down chaos")]
    Down {
        /// Its name
        #[arg(default_value = DEFAULT_NAME)]
        name: String,
    },
}

/// The cluster of `STEADFAST_CLUSTER=kind`.
const DEFAULT_NAME: &str = "steadfast";

/// Does it.
pub(super) fn run(options: &Options) -> ExitCode {
    let done = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BoxError::from).and_then(
        |runtime| {
            runtime.block_on(async {
                match &options.verb {
                    Verb::Up { name, config, image } => {
                        let kind = Cluster::kind(name);
                        let kind = config.iter().fold(kind, |kind, config| kind.config(config));
                        up(name, &image.iter().fold(kind, |kind, image| kind.image(image))).await
                    }
                    Verb::Down { name } => {
                        Cluster::kind(name).delete().await?;
                        eprintln!("Kind cluster {name} is deleted.");
                        Ok(())
                    }
                }
            })
        },
    );
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("steadfast kind: {error}");
            Exit::of(&*error).into()
        }
    }
}

async fn up(name: &str, kind: &Kind) -> Result<(), BoxError> {
    let cluster = kind.create_or_reuse().await?;
    crate::cluster::shop_image(&cluster).await?;
    let target = if name == DEFAULT_NAME { "kind".to_owned() } else { format!("kind:{name}") };
    writeln!(io::stdout(), "export KUBECONFIG={}", quoted(&kind.kubeconfig()?.to_string_lossy()))?;
    eprintln!(
        "Kind cluster {name} is ready. kubectl: the line above; tests: STEADFAST_CLUSTER={target} cargo test; \
         `steadfast kind down {name}` deletes it."
    );
    Ok(())
}
