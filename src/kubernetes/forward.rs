//! Loopback ports whose connections go to a pod through the cluster's API.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use k8s_openapi::api::core::v1::{Pod, Service as ServiceObject};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::{Kubernetes, KubernetesError, Pods};

/// Whom connections are for: looked up anew for each, as pods come and go.
#[derive(Clone)]
pub(crate) enum Backend {
    /// The first ready endpoint of a service, by pod name.
    Service { namespace: String, name: String, port: u16 },
    /// The first ready pod that a selector matches, by name.
    Pods { pods: Box<Pods>, port: u16 },
}

/// A port of a pod.
pub(crate) struct PodPort {
    pub(crate) namespace: String,
    pub(crate) pod: Pod,
    pub(crate) port: u16,
}

impl Backend {
    fn describe(&self) -> String {
        match self {
            Self::Service { namespace, name, port } => format!("port {port} of service {namespace}/{name}"),
            Self::Pods { pods, port } => format!("port {port} of {}", pods.describe()),
        }
    }

    fn none(&self, why: impl Into<String>) -> KubernetesError {
        KubernetesError::NobodyThere { what: self.describe(), why: why.into() }
    }

    /// The service's own object and the name of its port.
    pub(crate) async fn service(&self, kubernetes: &Kubernetes) -> Result<Option<ServiceObject>, KubernetesError> {
        let Self::Service { namespace, name, port } = self else { return Ok(None) };
        let api: Api<ServiceObject> = Api::namespaced(kubernetes.client().clone(), namespace);
        let found = api.get_opt(name).await.map_err(KubernetesError::api(format!("read {}", self.describe())))?;
        let service = found.ok_or_else(|| self.none("there is no such service"))?;
        let mut ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).map(|port| port.port);
        if !ports.clone().any(|known| known == i32::from(*port)) {
            let known: Vec<_> = ports.by_ref().map(|port| port.to_string()).collect();
            return Err(self.none(format!("the service has: {}", known.join(", "))));
        }
        Ok(Some(service))
    }

    /// Where the next connection goes.
    pub(crate) async fn find(&self, kubernetes: &Kubernetes) -> Result<PodPort, KubernetesError> {
        match self {
            Self::Pods { pods, port } => {
                let ready = pods.targets().await?.into_iter().filter(is_ready).min_by(by_name);
                let pod = ready.ok_or_else(|| self.none("none of the pods is ready"))?;
                Ok(PodPort { namespace: pods.namespace.clone(), pod, port: *port })
            }
            Self::Service { namespace, name, port } => {
                let service = self.service(kubernetes).await?.unwrap_or_default();
                let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
                let of_port = ports.into_iter().find(|known| known.port == i32::from(*port)).and_then(|port| port.name);
                let (pod, port) = self.endpoint(kubernetes, namespace, name, of_port.as_deref()).await?;
                let api: Api<Pod> = Api::namespaced(kubernetes.client().clone(), namespace);
                let pod = api.get(&pod).await.map_err(KubernetesError::api(format!("read pod {namespace}/{pod}")))?;
                Ok(PodPort { namespace: namespace.clone(), pod, port })
            }
        }
    }

    /// The pod and the port of it behind a service's port.
    async fn endpoint(
        &self,
        kubernetes: &Kubernetes,
        namespace: &str,
        service: &str,
        port: Option<&str>,
    ) -> Result<(String, u16), KubernetesError> {
        let api: Api<EndpointSlice> = Api::namespaced(kubernetes.client().clone(), namespace);
        let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
        let listed = api.list(&of_service).await;
        let slices = listed.map_err(KubernetesError::api(format!("list the endpoints of {namespace}/{service}")))?;
        let mut ready = Vec::new();
        for slice in slices {
            let named = |of: Option<&str>| of.unwrap_or_default() == port.unwrap_or_default();
            let ports = slice.ports.unwrap_or_default();
            let number = ports.iter().find(|p| named(p.name.as_deref())).and_then(|p| u16::try_from(p.port?).ok());
            let Some(number) = number else { continue };
            for endpoint in slice.endpoints {
                let takes = endpoint.conditions.is_none_or(|conditions| conditions.ready != Some(false));
                let pod = endpoint.target_ref.filter(|target| target.kind.as_deref() == Some("Pod"));
                if let Some(pod) = pod.and_then(|target| target.name).filter(|_| takes) {
                    ready.push((pod, number));
                }
            }
        }
        ready.into_iter().min().ok_or_else(|| self.none("no pod behind it is ready"))
    }
}

fn by_name(a: &Pod, b: &Pod) -> std::cmp::Ordering {
    a.metadata.name.cmp(&b.metadata.name)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// A listener on a loopback port. Each of its connections is a port-forward of its own; all end when it is dropped.
pub(crate) struct Forward {
    at: SocketAddr,
    serving: AbortHandle,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Forward {
    /// Listens on a free port, once one connection to the backend was made.
    ///
    /// # Errors
    /// Nobody is there, or the API forwards no ports for this user.
    pub(crate) async fn open(kubernetes: &Kubernetes, backend: Backend) -> Result<Self, KubernetesError> {
        let failed = |source: io::Error| backend.none(format!("no port of this machine can be had: {source}"));
        connect(kubernetes, &backend).await?.abort();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let at = listener.local_addr().map_err(failed)?;
        let serving = tokio::spawn(serve(listener, kubernetes.clone(), backend)).abort_handle();
        Ok(Self { at, serving })
    }

    /// Where it listens.
    pub(crate) fn at(&self) -> SocketAddr {
        self.at
    }
}

async fn serve(listener: TcpListener, kubernetes: Kubernetes, backend: Backend) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(forward(stream, kubernetes.clone(), backend.clone()))),
                // No descriptors left, for instance: others must get a turn to give theirs back.
                Err(_) => tokio::task::yield_now().await,
            },
        }
    }
}

/// A connection through the API, before anything was sent on it.
async fn connect(kubernetes: &Kubernetes, backend: &Backend) -> Result<Connected, KubernetesError> {
    let PodPort { namespace, pod, port } = backend.find(kubernetes).await?;
    let name = pod.metadata.name.unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(kubernetes.client().clone(), &namespace);
    let doing = format!("forward to port {port} of pod {namespace}/{name}");
    let forwarder = api.portforward(&name, &[port]).await.map_err(KubernetesError::api(doing))?;
    Ok(Connected { forwarder, port })
}

struct Connected {
    forwarder: kube::api::Portforwarder,
    port: u16,
}

impl Connected {
    fn abort(&self) {
        self.forwarder.abort();
    }
}

async fn forward(mut client: TcpStream, kubernetes: Kubernetes, backend: Backend) {
    // Small answers must not wait for more.
    let _ = client.set_nodelay(true);
    let connected = connect(&kubernetes, &backend).await.ok();
    let streams = connected.and_then(|mut connected| {
        let streams =
            (connected.forwarder.take_stream(connected.port)?, connected.forwarder.take_error(connected.port)?);
        Some((connected, streams))
    });
    let Some((connected, (mut pod, refused))) = streams else {
        // Nobody is there: the client is told at once, as by a port that nobody has.
        let _ = client.set_zero_linger();
        return;
    };
    tokio::select! {
        biased;
        Some(_) = refused => {
            let _ = client.set_zero_linger();
        }
        // Either side may end it at any time.
        _ = tokio::io::copy_bidirectional(&mut client, &mut pod) => {}
    }
    connected.abort();
}
