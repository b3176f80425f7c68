//! The kinds that the lab holds: those of Kubernetes that it knows, and those that CustomResourceDefinitions declare.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// One kind of object and its place in the API. There is one for each kind and version, so that the address tells
/// two kinds apart.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// The API group, empty for the core group.
    pub group: &'static str,
    /// The version in its group.
    pub version: &'static str,
    /// The kind: `NetworkPolicy`.
    pub kind: &'static str,
    /// The plural in the URL: `networkpolicies`.
    pub plural: &'static str,
    /// What `kubectl` also calls it: `netpol`.
    pub short_names: &'static [&'static str],
    /// The groups that `kubectl get` knows it by: `all`.
    pub categories: &'static [&'static str],
    /// Whether its objects lie in a namespace.
    pub namespaced: bool,
    /// Whether `metadata.generation` counts its changes of `spec`.
    pub generation: bool,
    /// What lies below one object: `status`, `scale`, `log`.
    pub subresources: &'static [&'static str],
    /// Whether a CustomResourceDefinition declares it.
    pub custom: bool,
}

macro_rules! resources {
    ($($name:ident = $group:literal $version:literal $kind:literal $plural:literal [$($short:literal)*] [$($category:literal)*]
        $namespaced:literal $generation:literal [$($subresource:literal)*];)*) => {
        $(#[doc = concat!("`", $kind, "`.")]
        pub static $name: Resource = Resource {
            group: $group, version: $version, kind: $kind, plural: $plural,
            short_names: &[$($short),*], categories: &[$($category),*],
            namespaced: $namespaced, generation: $generation, subresources: &[$($subresource),*], custom: false,
        };)*
        /// Every kind that needs no definition, in the order in which discovery lists them.
        pub static ALL: &[&Resource] = &[$(&$name),*];
    };
}

// Group, version, kind, plural; short names; categories; namespaced?, generation?; subresources.
resources! {
    CONFIG_MAPS = "" "v1" "ConfigMap" "configmaps" ["cm"] [] true false [];
    ENDPOINTS = "" "v1" "Endpoints" "endpoints" ["ep"] [] true false [];
    EVENTS = "" "v1" "Event" "events" ["ev"] [] true false [];
    NAMESPACES = "" "v1" "Namespace" "namespaces" ["ns"] [] false false ["finalize" "status"];
    NODES = "" "v1" "Node" "nodes" ["no"] [] false false ["status"];
    PODS = "" "v1" "Pod" "pods" ["po"] ["all"] true true ["binding" "eviction" "log" "status"];
    SECRETS = "" "v1" "Secret" "secrets" [] [] true false [];
    SERVICE_ACCOUNTS = "" "v1" "ServiceAccount" "serviceaccounts" ["sa"] [] true false ["token"];
    SERVICES = "" "v1" "Service" "services" ["svc"] ["all"] true false ["status"];
    CUSTOM_RESOURCE_DEFINITIONS = "apiextensions.k8s.io" "v1" "CustomResourceDefinition" "customresourcedefinitions" ["crd" "crds"] ["api-extensions"] false true ["status"];
    CONTROLLER_REVISIONS = "apps" "v1" "ControllerRevision" "controllerrevisions" [] [] true false [];
    DAEMON_SETS = "apps" "v1" "DaemonSet" "daemonsets" ["ds"] ["all"] true true ["status"];
    DEPLOYMENTS = "apps" "v1" "Deployment" "deployments" ["deploy"] ["all"] true true ["scale" "status"];
    REPLICA_SETS = "apps" "v1" "ReplicaSet" "replicasets" ["rs"] ["all"] true true ["scale" "status"];
    STATEFUL_SETS = "apps" "v1" "StatefulSet" "statefulsets" ["sts"] ["all"] true true ["scale" "status"];
    HORIZONTAL_POD_AUTOSCALERS = "autoscaling" "v2" "HorizontalPodAutoscaler" "horizontalpodautoscalers" ["hpa"] ["all"] true false ["status"];
    JOBS = "batch" "v1" "Job" "jobs" [] ["all"] true true ["status"];
    LEASES = "coordination.k8s.io" "v1" "Lease" "leases" [] [] true false [];
    ENDPOINT_SLICES = "discovery.k8s.io" "v1" "EndpointSlice" "endpointslices" [] [] true true [];
    NETWORK_POLICIES = "networking.k8s.io" "v1" "NetworkPolicy" "networkpolicies" ["netpol"] [] true true [];
    POD_DISRUPTION_BUDGETS = "policy" "v1" "PodDisruptionBudget" "poddisruptionbudgets" ["pdb"] [] true true ["status"];
    CLUSTER_ROLE_BINDINGS = "rbac.authorization.k8s.io" "v1" "ClusterRoleBinding" "clusterrolebindings" [] [] false false [];
    CLUSTER_ROLES = "rbac.authorization.k8s.io" "v1" "ClusterRole" "clusterroles" [] [] false false [];
    ROLE_BINDINGS = "rbac.authorization.k8s.io" "v1" "RoleBinding" "rolebindings" [] [] true false [];
    ROLES = "rbac.authorization.k8s.io" "v1" "Role" "roles" [] [] true false [];
}

/// The custom kinds of this process: a few hundred bytes each, kept so that a kind is one address everywhere.
static CUSTOM: Mutex<BTreeSet<&'static Resource>> = Mutex::new(BTreeSet::new());

impl Resource {
    /// The built-in kind of a plural in a group and version; for custom kinds ask the store.
    #[must_use]
    pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|r| r.group == group && r.version == version && r.plural == plural)
    }

    /// The one resource of a custom kind's version; the first four are group, version, kind and plural.
    pub(crate) fn declared<'a>(
        [group, version, kind, plural]: [&str; 4],
        short_names: impl Iterator<Item = &'a str>,
        categories: impl Iterator<Item = &'a str>,
        namespaced: bool,
        subresources: &[&'static str],
    ) -> &'static Self {
        let (short_names, categories): (Vec<&str>, Vec<&str>) = (short_names.collect(), categories.collect());
        let mut known = CUSTOM.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().find(|r| {
            (r.group, r.version, r.kind, r.plural) == (group, version, kind, plural)
                && (r.short_names, r.categories) == (&*short_names, &*categories)
                && (r.namespaced, r.subresources) == (namespaced, subresources)
        });
        if let Some(found) = found {
            return found;
        }
        let keep = |text: &str| -> &'static str { Box::leak(text.into()) };
        let keep_all = |texts: Vec<&str>| -> &'static [&'static str] {
            Box::leak(texts.into_iter().map(keep).collect::<Vec<_>>().into_boxed_slice())
        };
        let kept: &'static Self = Box::leak(Box::new(Self {
            group: keep(group),
            version: keep(version),
            kind: keep(kind),
            plural: keep(plural),
            short_names: keep_all(short_names),
            categories: keep_all(categories),
            namespaced,
            generation: true,
            subresources: keep_all(subresources.to_vec()),
            custom: true,
        }));
        known.insert(kept);
        kept
    }

    /// Whether this is that kind.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }

    /// Whether an object of this kind has that subresource.
    #[must_use]
    pub fn has(&self, subresource: &str) -> bool {
        self.subresources.contains(&subresource)
    }

    /// `networkpolicy`.
    #[must_use]
    pub fn singular(&self) -> String {
        self.kind.to_lowercase()
    }

    /// `group/version`, or the version alone for the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `networkpolicies.networking.k8s.io`, or the plural alone for the core group: the name in error messages.
    #[must_use]
    pub fn qualified_plural(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `NetworkPolicy.networking.k8s.io`, or the kind alone for the core group.
    #[must_use]
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }
}
