//! A run gives a place back only when nothing of it is on there: its lease is what proves that to others.

use super::{EntryId, OpenEntry, Undo};

/// The name of the lease by which a run holds a namespace.
pub(crate) const LEASE: &str = "steadfast";

/// Before the name of a node, that of the lease by which a run holds the node.
pub(crate) const NODE_LEASE: &str = "steadfast-node-";

/// A place, as undos name it.
enum Place<'a> {
    Namespace(&'a str),
    Node(&'a str),
}

/// The place that an undo gives back, if it is the deletion of a lease.
fn given_back(undo: &Undo) -> Option<Place<'_>> {
    let Undo::Delete { object, .. } = undo else { return None };
    if object.kind != "Lease" || !object.api_version.starts_with("coordination.k8s.io/") {
        return None;
    }
    match object.name.strip_prefix(NODE_LEASE) {
        Some(node) => Some(Place::Node(node)),
        None if object.name == LEASE => object.namespace.as_deref().map(Place::Namespace),
        None => None,
    }
}

impl Place<'_> {
    fn has(&self, undo: &Undo) -> bool {
        let object = undo.object();
        given_back(undo).is_none()
            && match self {
                Self::Namespace(namespace) => object.namespace.as_deref() == Some(namespace),
                Self::Node(node) => object.kind == "Node" && object.name == *node,
            }
    }
}

/// Why an entry is not undone yet: it gives back a place where others of its ledger are still open.
pub(super) fn kept_by(entry: EntryId, undo: &[Undo], open: &[OpenEntry]) -> Option<String> {
    let places: Vec<_> = undo.iter().filter_map(given_back).collect();
    let has = |other: &&OpenEntry| other.undo.iter().any(|undo| places.iter().any(|place| place.has(undo)));
    let on = open.iter().filter(|other| other.entry != entry).find(has)?;
    Some(format!("it is kept, so that nobody else comes in: {} may still be on there", on.name))
}

#[cfg(test)]
mod tests {
    use super::super::ObjectRef;
    use super::*;

    fn undo(kind: &str, namespace: Option<&str>, name: &str) -> Undo {
        let api_version = if kind == "Lease" { "coordination.k8s.io/v1" } else { "v1" }.to_owned();
        let (kind, resource, namespace) = (kind.to_owned(), String::new(), namespace.map(str::to_owned));
        let object = ObjectRef { api_version, kind, resource, namespace, name: name.into() };
        Undo::Delete { object, owner: "o".into(), uid: None, switch: None }
    }

    fn open(entry: EntryId, undo: Undo) -> OpenEntry {
        OpenEntry { entry, owner: "o".into(), name: undo.to_string(), undo: vec![undo], applied: true }
    }

    #[test]
    fn a_place_is_kept_as_long_as_something_is_on_there() {
        let all = [
            open(1, undo("Lease", Some("a"), "steadfast")),
            open(2, undo("Lease", Some("default"), "steadfast-node-n")),
            open(3, undo("Lease", Some("default"), "steadfast")),
            open(4, undo("Pod", Some("a"), "p")),
            open(5, undo("Node", None, "n")),
        ];
        let kept = |entry: &OpenEntry, open: &[OpenEntry]| kept_by(entry.entry, &entry.undo, open);
        let told: Vec<_> = all.iter().map(|entry| kept(entry, &all)).collect();
        assert!(told[0].as_ref().is_some_and(|why| why.contains("delete pod a/p may still be on")), "{told:?}");
        assert!(told[1].as_ref().is_some_and(|why| why.contains("delete node n")), "{told:?}");
        assert_eq!(told[2..], [None, None, None], "leases of other places keep nothing, and no fault is kept");
        assert_eq!(kept(&all[0], &all[..3]), None, "nothing is on there any more");
    }
}
