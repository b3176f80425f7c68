//! The kinds that the lab holds.

/// One kind of object and its place in the API.
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
    /// Whether its objects lie in a namespace.
    pub namespaced: bool,
    /// Whether `metadata.generation` counts its changes of `spec`.
    pub generation: bool,
}

macro_rules! resources {
    ($($name:ident = $group:literal $version:literal $kind:literal $plural:literal $namespaced:literal $generation:literal;)*) => {
        $(#[doc = concat!("`", $kind, "`.")]
        pub static $name: Resource = Resource {
            group: $group, version: $version, kind: $kind, plural: $plural,
            namespaced: $namespaced, generation: $generation,
        };)*
        /// Every kind, in the order in which discovery lists them.
        pub static ALL: &[&Resource] = &[$(&$name),*];
    };
}

resources! {
    NAMESPACES = "" "v1" "Namespace" "namespaces" false false;
    NODES = "" "v1" "Node" "nodes" false false;
    PODS = "" "v1" "Pod" "pods" true true;
    SERVICES = "" "v1" "Service" "services" true false;
    CONFIG_MAPS = "" "v1" "ConfigMap" "configmaps" true false;
    DEPLOYMENTS = "apps" "v1" "Deployment" "deployments" true true;
    REPLICA_SETS = "apps" "v1" "ReplicaSet" "replicasets" true true;
    ENDPOINT_SLICES = "discovery.k8s.io" "v1" "EndpointSlice" "endpointslices" true true;
    NETWORK_POLICIES = "networking.k8s.io" "v1" "NetworkPolicy" "networkpolicies" true true;
}

impl Resource {
    /// The kind of a plural in a group and version.
    #[must_use]
    pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|r| r.group == group && r.version == version && r.plural == plural)
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
