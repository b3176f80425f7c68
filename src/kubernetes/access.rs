//! The handle to a cluster's API.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};

use super::undo::Silence;
use super::{ObjectPatch, Selector, SelectorError};
use crate::experiment::Right;
use crate::rollback::ObjectRef;

/// What names the image of witness pods.
pub(crate) const WITNESS_IMAGE_VARIABLE: &str = "STEADFAST_WITNESS_IMAGE";

/// How long the API may take for what it answers at once: less than a run may be silent, so that one lost connection is
/// not its end.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// A client whose answers are whole within that time, or an error.
fn answering_within(client: &kube::Client, within: Duration) -> kube::Client {
    let whole = client.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let client = whole.clone();
        async move {
            let answer = async {
                let (parts, body) = client.send(request).await?.into_parts();
                let body = body.collect().await?.to_bytes();
                Ok::<_, crate::BoxError>(http::Response::from_parts(parts, Body::from(body.to_vec())))
            };
            let late = |_| format!("the API server did not answer within {within:?}");
            tokio::time::timeout(within, answer).await.map_err(late)?
        }
    });
    kube::Client::new(service, client.default_namespace())
}

/// A cluster's API, with what is needed to tell clusters apart.
#[derive(Clone)]
pub struct Kubernetes {
    client: kube::Client,
    /// For what is answered at once.
    short: Arc<kube::Client>,
    witness_image: String,
    /// How its user sweeps it.
    sweep: String,
    /// Shared by all who undo there.
    silence: Silence,
}

/// A failure of this module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KubernetesError {
    /// The selector cannot be read.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// The selector matches nothing.
    #[error("no pod in namespace {namespace} matches {selector:?}; the namespace has pods with: {known}")]
    NothingSelected {
        /// The namespace.
        namespace: String,
        /// The selector.
        selector: String,
        /// The labels that its pods have.
        known: String,
    },
    /// The selector matches more than one experiment may touch.
    #[error(
        "{selector:?} matches {selected} of {all} pods in namespace {namespace}, more than {percent} %; narrow it, or lift the cap with `.at_most_percent(100)`"
    )]
    TooManySelected {
        /// The namespace.
        namespace: String,
        /// The selector.
        selector: String,
        /// How many pods it matches.
        selected: usize,
        /// How many there are.
        all: usize,
        /// The cap.
        percent: u8,
    },
    /// More pods are to be evicted than one experiment may touch.
    #[error(
        "this would evict {selected} of {all} pods in namespace {namespace}, more than {percent} %; take fewer, or lift the cap with `.at_most_percent(100)`"
    )]
    TooManyEvicted {
        /// The namespace.
        namespace: String,
        /// How many pods of it.
        selected: usize,
        /// How many there are.
        all: usize,
        /// The cap.
        percent: u8,
    },
    /// A namespace of the cluster itself.
    #[error("namespace {namespace} belongs to the cluster itself; faults are refused there")]
    ProtectedNamespace {
        /// The namespace.
        namespace: String,
    },
    /// There is no namespace of that name.
    #[error("there is no namespace {namespace}; there are: {known}")]
    NoSuchNamespace {
        /// The name.
        namespace: String,
        /// The names that there are.
        known: String,
    },
    /// There is no object of that name.
    #[error("{object} does not exist; there are: {known}")]
    NoSuchObject {
        /// The object.
        object: String,
        /// The names that there are.
        known: String,
    },
    /// There is an object of that name already.
    #[error("{object} exists already: {whose}")]
    Exists {
        /// The object.
        object: String,
        /// Whose it is, and what to do about it.
        whose: String,
    },
    /// A run has changed the object, and its change is still on.
    #[error("{object} is changed by run {run} already; if that run is dead, `{sweep}` undoes it")]
    ChangedByRun {
        /// The object.
        object: String,
        /// The run.
        run: String,
        /// How to sweep its cluster.
        sweep: String,
    },
    /// The fault would change nothing.
    #[error("{object}: {already} already, so that the fault would change nothing; ask for another value")]
    NothingToChange {
        /// The object.
        object: String,
        /// What is so already.
        already: String,
    },
    /// An object that nothing brings back once it is deleted.
    #[error("nothing brings {object} back once it is deleted, for {why}; so it is not")]
    ForGood {
        /// The object.
        object: String,
        /// Why nothing does.
        why: String,
    },
    /// Pods that nothing would bring back.
    #[error("nothing brings these pods back once they are deleted: {pods}; if that is meant, say `.allow_bare()`")]
    BarePods {
        /// Their names.
        pods: String,
    },
    /// A Service whose endpoints are not chosen by a selector.
    #[error("{object} has no selector, so that its endpoints are not chosen by one; this fault cannot act on it")]
    NoSelector {
        /// The Service.
        object: String,
    },
    /// A fault that only the embedded lab has.
    #[error(
        "{what}: this fault works in the embedded lab only, and the cluster is a Kubernetes {version}; Chaos Mesh is not supported yet"
    )]
    LabOnly {
        /// The fault.
        what: String,
        /// The cluster's version.
        version: String,
    },
    /// Something that only has a name.
    #[error("{what} belongs to no cluster, so that a fault cannot change it; get it by {remedy}")]
    WithoutCluster {
        /// What it is.
        what: String,
        /// How to get one that does.
        remedy: String,
    },
    /// No pod takes a connection.
    #[error("{what} cannot be reached: {why}")]
    NobodyThere {
        /// The port.
        what: String,
        /// What is missing.
        why: String,
    },
    /// The API answers with an error, or not at all.
    #[error("failed to {doing}: {source}")]
    Api {
        /// What was asked.
        doing: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

impl KubernetesError {
    pub(crate) fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let doing = doing.into();
        |source| Self::Api { doing, source: Box::new(source) }
    }
}

impl Kubernetes {
    /// A handle from a client. The witness' image is `STEADFAST_WITNESS_IMAGE` if that is set.
    #[must_use]
    pub fn new(client: kube::Client) -> Self {
        let witness_image =
            crate::variables::text(WITNESS_IMAGE_VARIABLE).unwrap_or_else(|| super::WITNESS_IMAGE.to_owned());
        let short = Arc::new(answering_within(&client, ANSWERS_WITHIN));
        Self { client, short, witness_image, sweep: "steadfast sweep".to_owned(), silence: Silence::default() }
    }

    /// With less time for each request that is answered at once, if `within` is less than usual.
    pub(super) fn hurried(mut self, within: Duration) -> Self {
        self.short = Arc::new(answering_within(&self.client, within.min(ANSWERS_WITHIN)));
        self
    }

    /// With the command that sweeps it.
    pub(super) fn swept_by(mut self, command: String) -> Self {
        self.sweep = command;
        self
    }

    /// The command that sweeps it.
    pub(crate) fn sweep(&self) -> &str {
        &self.sweep
    }

    pub(super) fn silence(&self) -> &Silence {
        &self.silence
    }

    /// The client for requests that are answered at once, and whole: one that is not fails after 5 s. Not for watches,
    /// logs and forwarded ports.
    pub(crate) fn short(&self) -> &kube::Client {
        &self.short
    }

    /// The client. Its requests may take for ever.
    #[must_use]
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// The image of witness pods.
    #[must_use]
    pub fn witness_image(&self) -> &str {
        &self.witness_image
    }

    /// Whether this is the embedded lab, as its version says, which is the other.
    pub(super) async fn is_lab(&self) -> Result<(bool, String), KubernetesError> {
        let version = self.short().apiserver_version().await;
        let version = version.map_err(KubernetesError::api("ask the cluster for its version"))?.git_version;
        Ok((version.ends_with("+steadfast-lab"), version))
    }

    pub(crate) fn objects(&self, object: &ObjectRef) -> Api<DynamicObject> {
        let (group, version) = object.api_version.split_once('/').unwrap_or(("", &object.api_version));
        let kind = GroupVersionKind::gvk(group, version, &object.kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, &object.resource);
        match &object.namespace {
            Some(namespace) => Api::namespaced_with(self.short().clone(), namespace, &resource),
            None => Api::all_with(self.short().clone(), &resource),
        }
    }

    /// The plural under which the cluster serves a kind.
    ///
    /// # Errors
    /// It serves no such kind, or the API does not answer.
    pub async fn plural(&self, api_version: &str, kind: &str) -> Result<String, KubernetesError> {
        Ok(self.scope(api_version, kind).await?.0)
    }

    /// As [`plural`](Self::plural), and whether its objects lie in namespaces.
    pub(crate) async fn scope(&self, api_version: &str, kind: &str) -> Result<(String, bool), KubernetesError> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kind = GroupVersionKind::gvk(group, version, kind);
        let doing = format!("find the kind {} of {api_version}", kind.kind);
        let (resource, served) =
            kube::discovery::pinned_kind(self.short(), &kind).await.map_err(KubernetesError::api(doing))?;
        Ok((resource.plural, served.scope == kube::discovery::Scope::Namespaced))
    }

    /// Server-side apply, as `manager`, which takes fields over from others.
    ///
    /// # Errors
    /// The API refuses it.
    pub async fn apply(
        &self,
        object: &ObjectRef,
        body: &serde_json::Value,
        manager: &str,
    ) -> Result<(), KubernetesError> {
        let params = PatchParams::apply(manager).force();
        let applied = self.objects(object).patch(&object.name, &params, &Patch::Apply(body)).await;
        applied.map(drop).map_err(KubernetesError::api(format!("apply {object}")))
    }

    /// Patches an object, or with `dry` only asks what that would come to.
    pub(crate) async fn patch_object(
        &self,
        object: &ObjectRef,
        patch: &ObjectPatch,
        dry: bool,
    ) -> Result<serde_json::Value, KubernetesError> {
        let doing = if dry { format!("ask what a patch of {object} comes to") } else { format!("change {object}") };
        let (content, body) = match patch {
            ObjectPatch::Merge(body) => ("application/merge-patch+json", body),
            ObjectPatch::Strategic(body) => ("application/strategic-merge-patch+json", body),
            ObjectPatch::Json(body) => ("application/json-patch+json", body),
            ObjectPatch::Whole(body) => ("application/json", body),
        };
        let method = if matches!(patch, ObjectPatch::Whole(_)) { http::Method::PUT } else { http::Method::PATCH };
        let query = if dry { "?dryRun=All" } else { "" };
        let uri = format!("{}/{}{query}", self.objects(object).resource_url(), object.name);
        let request = http::Request::builder().method(method).uri(uri).header(http::header::CONTENT_TYPE, content);
        let request = request.body(body.to_string().into_bytes()).map_err(kube::Error::HttpError);
        let answered = match request {
            Ok(request) => self.client.request(request).await,
            Err(error) => Err(error),
        };
        answered.map_err(KubernetesError::api(doing))
    }

    /// The uid of `kube-system`: the name of the cluster that nobody can give to another one.
    ///
    /// # Errors
    /// The API does not answer, or the user may not read namespaces.
    pub async fn cluster_uid(&self) -> Result<String, KubernetesError> {
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.short().clone());
        let system = namespaces.get("kube-system").await.map_err(KubernetesError::api("read namespace kube-system"))?;
        Ok(system.metadata.uid.unwrap_or_default())
    }

    /// That there is no such namespace, where nothing was found in it: a name that is misspelt. `None` if there is, or if the
    /// cluster does not say.
    pub(crate) async fn no_namespace(&self, namespace: &str) -> Option<KubernetesError> {
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.client().clone());
        if namespaces.get_opt(namespace).await.ok()?.is_some() {
            return None;
        }
        let all = namespaces.list(&kube::api::ListParams::default()).await.ok()?.items;
        let known = Vec::from_iter(all.into_iter().filter_map(|one| one.metadata.name)).join(", ");
        Some(KubernetesError::NoSuchNamespace { namespace: namespace.to_owned(), known })
    }

    /// Which of these rights the user does not have, by the cluster's own word.
    ///
    /// # Errors
    /// The API does not answer.
    pub async fn lacking(&self, rights: &[Right]) -> Result<Vec<Right>, KubernetesError> {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.short().clone());
        let mut lacking = Vec::new();
        for right in rights {
            let (resource, subresource) = match right.resource.split_once('/') {
                Some((resource, subresource)) => (resource.to_owned(), Some(subresource.to_owned())),
                None => (right.resource.clone(), None),
            };
            let attributes = ResourceAttributes {
                verb: Some(right.verb.clone()),
                group: Some(right.group.clone()),
                resource: Some(resource),
                subresource,
                namespace: right.namespace.clone(),
                ..Default::default()
            };
            let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
            let review = SelfSubjectAccessReview { spec, ..Default::default() };
            let answer = reviews
                .create(&PostParams::default(), &review)
                .await
                .map_err(KubernetesError::api(format!("ask whether the user may {right}")))?;
            if !answer.status.is_some_and(|status| status.allowed) {
                lacking.push(right.clone());
            }
        }
        Ok(lacking)
    }

    /// The pods of a namespace that a selector matches.
    ///
    /// # Errors
    /// Never for a bad selector: whoever uses it gets that error.
    pub fn pods(&self, namespace: &str, selector: &str) -> super::Pods {
        super::Pods::new(self.clone(), namespace.to_owned(), selector.parse::<Selector>())
    }
}
