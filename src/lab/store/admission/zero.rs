//! Which zero values a Go server leaves out.
//!
//! A Go struct writes a field marked `omitempty` only if it is not zero, but a pointer to a zero is written. The model
//! does not tell the two apart, so the lists are here; those of `k8s.io/api` v0.34.

/// Fields that are pointers to text, and keep an empty one.
const TEXT_POINTERS: &[(&str, &str)] = &[
    ("EndpointPort", "name"),
    ("EndpointPort", "protocol"),
    ("LeaseSpec", "holderIdentity"),
    ("PersistentVolumeClaimSpec", "storageClassName"),
    ("Endpoint", "hostname"),
    ("Endpoint", "nodeName"),
    ("Endpoint", "zone"),
    ("SeccompProfile", "localhostProfile"),
];

/// Numbers and booleans that are no pointers.
const PLAIN: &[&str] = &[
    "minReadySeconds",
    "paused",
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "stdin",
    "stdinOnce",
    "tty",
    "readOnly",
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
    "hostPort",
    "nodePort",
    "publishNotReadyAddresses",
    "unschedulable",
    "count",
    "observedGeneration",
    "generation",
    "availableReplicas",
    "readyReplicas",
    "unavailableReplicas",
    "updatedReplicas",
    "currentReplicas",
    "fullyLabeledReplicas",
    "active",
    "succeeded",
    "failed",
    "healthCheckNodePort",
    "served",
    "storage",
];

/// Plain zeros that are written all the same, by the struct that holds them.
const WRITTEN: &[(&str, &str)] = &[
    ("CustomResourceDefinitionVersion", "served"),
    ("CustomResourceDefinitionVersion", "storage"),
    ("LabelSelectorRequirement", "key"),
    ("PodDisruptionBudgetStatus", "currentHealthy"),
    ("ClientIPConfig", "timeoutSeconds"),
];

/// Whether an absent and an empty text differ there.
pub(super) fn keeps_empty_text(holder: Option<&&'static str>, field: &str) -> bool {
    holder.is_some_and(|holder| TEXT_POINTERS.contains(&(*holder, field)))
}

/// Whether a zero or `false` is the same as nothing there.
pub(super) fn zero_is_absent(holder: Option<&&'static str>, field: &str) -> bool {
    // A job's counts of pods are pointers, or are told as zero.
    let written = holder.is_some_and(|holder| WRITTEN.contains(&(*holder, field)));
    PLAIN.contains(&field) && !written
}
