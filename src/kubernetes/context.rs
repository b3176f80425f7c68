//! Which cluster of a kubeconfig may be acted on.

use kube::config::{KubeConfigOptions, Kubeconfig};

use super::{Kubernetes, KubernetesError, Traced};
use crate::rollback::{IN_CLUSTER, sweep_command};

/// The name of the context of `steadfast lab`.
const LAB: &str = "steadfast-lab";

/// A context of a kubeconfig that may be acted on.
#[derive(Clone, Debug)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// The URL of its API server.
    pub server: String,
    /// The file that it is from, if it is not the user's own.
    pub(crate) kubeconfig: Option<std::path::PathBuf>,
    config: kube::Config,
}

/// A context that cannot or must not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The kubeconfig has no such context.
    #[error("the kubeconfig has no context {name:?}; it has: {known}. {remedy}")]
    NotFound {
        /// The context asked for.
        name: String,
        /// Those that exist.
        known: String,
        /// What to do.
        remedy: String,
    },
    /// Nobody named this context, and it is not clearly one for tests.
    #[error(
        "context {name:?} ({server}) was not named, and {why}; name it with STEADFAST_CLUSTER=context:{name} if faults are welcome there"
    )]
    NotNamed {
        /// The context.
        name: String,
        /// Its API server.
        server: String,
        /// Why it is not taken for one for tests.
        why: &'static str,
    },
    /// The kubeconfig cannot be read.
    #[error("failed to read the kubeconfig: {0}; set KUBECONFIG to the right file")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
    /// The client cannot be made.
    #[error("failed to make a client for context {name:?}: {source}")]
    Client {
        /// The context.
        name: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The API answers, but not to this user.
    #[error("the API server of context {name:?} ({server}) refuses {what}: {why}. {remedy}")]
    Refused {
        /// The context.
        name: String,
        /// Its API server.
        server: String,
        /// What was asked.
        what: &'static str,
        /// What it said, with the user's name where it knows one.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The API does not answer.
    #[error("the API server of context {name:?} ({server}) does not answer: {why}; is the cluster running?")]
    NotAnswering {
        /// The context.
        name: String,
        /// Its API server.
        server: String,
        /// What went wrong.
        why: String,
    },
}

impl Context {
    /// The context `name` of the user's kubeconfig. Naming it is the consent to act on it.
    ///
    /// # Errors
    /// There is no kubeconfig or no such context.
    pub async fn named(name: &str, remedy: &str) -> Result<Self, ContextError> {
        Self::of(Kubeconfig::read().map_err(ContextError::Kubeconfig)?, name, remedy).await
    }

    /// The context `name` of another file than the user's.
    ///
    /// # Errors
    /// The file cannot be read, or has no such context.
    pub async fn in_file(path: &std::path::Path, name: &str) -> Result<Self, ContextError> {
        let kubeconfig = Kubeconfig::read_from(path).map_err(ContextError::Kubeconfig)?;
        let remedy = format!("It was read from {}.", path.display());
        Ok(Self { kubeconfig: Some(path.to_owned()), ..Self::of(kubeconfig, name, &remedy).await? })
    }

    /// The current context of the user's kubeconfig, if it is clearly one for tests: a kind cluster on this
    /// machine, or the lab's own. A tunnel to production is a loopback server too, so the name must fit as well.
    ///
    /// # Errors
    /// There is none, or it must be named.
    pub async fn current() -> Result<Self, ContextError> {
        let kubeconfig = Kubeconfig::read().map_err(ContextError::Kubeconfig)?;
        let name = kubeconfig.current_context.clone().unwrap_or_default();
        let context = Self::of(kubeconfig, &name, "Set one with `kubectl config use-context NAME`.").await?;
        context.allowed_unnamed()?;
        Ok(context)
    }

    /// The cluster that this process runs in, by its service account.
    ///
    /// # Errors
    /// It runs in none.
    pub fn in_cluster() -> Result<Self, kube::config::InClusterError> {
        let config = kube::Config::incluster()?;
        Ok(Self { name: IN_CLUSTER.into(), server: config.cluster_url.to_string(), kubeconfig: None, config })
    }

    async fn of(kubeconfig: Kubeconfig, name: &str, remedy: &str) -> Result<Self, ContextError> {
        if !kubeconfig.contexts.iter().any(|context| context.name == name) {
            let known: Vec<_> = kubeconfig.contexts.iter().map(|c| c.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(ContextError::NotFound { name: name.into(), known, remedy: remedy.into() });
        }
        let options = KubeConfigOptions { context: Some(name.to_owned()), ..Default::default() };
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(ContextError::Kubeconfig)?;
        Ok(Self { name: name.to_owned(), server: config.cluster_url.to_string(), kubeconfig: None, config })
    }

    /// Why the first look at the cluster failed: nobody there, or somebody who does not let this user look.
    pub(crate) fn unreachable(&self, error: KubernetesError) -> ContextError {
        let (name, server) = (self.name.clone(), self.server.clone());
        if let KubernetesError::Api { source, .. } = &error
            && let kube::Error::Api(status) = &**source
        {
            let remedy = match status.code {
                401 => {
                    "Its credentials are not taken: log in again, or correct the user of this context; `kubectl auth whoami` shows who that is."
                }
                403 => {
                    "Let an administrator bind docs/rbac.yaml to that user: it has every right that Steadfast needs, and no more."
                }
                _ => "",
            };
            if !remedy.is_empty() {
                let what = "to let this user get the namespace kube-system";
                return ContextError::Refused { name, server, what, why: status.message.clone(), remedy };
            }
        }
        ContextError::NotAnswering { name, server, why: error.to_string() }
    }

    fn allowed_unnamed(&self) -> Result<(), ContextError> {
        let loopback = self.is_on_loopback();
        let why = match (self.name.starts_with("kind-") || self.name == LAB, loopback) {
            (true, true) => return Ok(()),
            (true, false) => "its API server is not on this machine",
            (false, _) => "only contexts of kind clusters are taken unnamed",
        };
        Err(ContextError::NotNamed { name: self.name.clone(), server: self.server.clone(), why })
    }

    /// Whether it is that of `steadfast lab`, on this machine.
    pub(crate) fn is_of_lab(&self) -> bool {
        self.name == LAB && self.is_on_loopback()
    }

    /// Whether its API server is a loopback address: a cluster of this machine, or a tunnel.
    pub(crate) fn is_on_loopback(&self) -> bool {
        self.config.cluster_url.host().is_some_and(is_loopback)
    }

    /// A handle with a client of its own, on the runtime of the caller. Requests are not repeated by themselves:
    /// a budget that refuses an eviction must be seen at once.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn connect(&self) -> Result<Kubernetes, ContextError> {
        super::install_crypto_provider();
        let mut config = self.config.clone();
        config.default_retry = false;
        let client = kube::client::ClientBuilder::try_from(config)
            .map(|builder| builder.with_layer(&Traced).build())
            .map_err(|source| ContextError::Client { name: self.name.clone(), source: Box::new(source) })?;
        Ok(Kubernetes::new(client).swept_by(sweep_command(&self.name, self.kubeconfig.as_deref())))
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn context(name: &str, server: &str) -> Context {
        let text = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": name,
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": name, "context": {"cluster": "c", "user": "u"}}],
        });
        Context::of(serde_json::from_value(text).unwrap(), name, "").await.unwrap()
    }

    #[tokio::test]
    async fn unnamed_contexts_must_be_kind_clusters_on_this_machine() {
        assert!(context("kind-dev", "https://127.0.0.1:6443").await.allowed_unnamed().is_ok());
        assert!(context("steadfast-lab", "http://localhost:1").await.allowed_unnamed().is_ok());
        for (name, server, why) in [
            ("prod", "https://127.0.0.1:6443", "only contexts of kind clusters"),
            ("kind-dev", "https://10.0.0.1:6443", "not on this machine"),
            ("kind-dev", "https://127.0.0.1.example.com", "not on this machine"),
        ] {
            let error = context(name, server).await.allowed_unnamed().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(&format!("STEADFAST_CLUSTER=context:{name}")), "{error}");
        }
    }

    #[tokio::test]
    async fn who_is_refused_is_told_so_and_not_that_nobody_answers() {
        let context = context("prod", "https://10.0.0.1:6443").await;
        let refused = |code: u16, message: &str| {
            let status = kube::core::Status::failure(message, "Refused").with_code(code);
            context
                .unreachable(KubernetesError::api("read namespace kube-system")(kube::Error::Api(status.boxed())))
                .to_string()
        };
        let told = refused(403, r#"namespaces "kube-system" is forbidden: User "anna" cannot get resource"#);
        assert!(told.contains("refuses to let this user") && told.contains("anna") && told.contains("docs/rbac.yaml"));
        let told = refused(401, "Unauthorized");
        assert!(told.contains("Unauthorized. Its credentials are not taken: log in again"), "{told}");
        assert!(refused(503, "not now").contains("does not answer: failed to read namespace kube-system"));
    }

    #[tokio::test]
    async fn a_context_that_is_absent_names_those_that_exist() {
        let error = Context::of(Kubeconfig::default(), "kind-x", "Create it.").await.unwrap_err().to_string();
        assert_eq!(error, r#"the kubeconfig has no context "kind-x"; it has: none. Create it."#);
    }
}
