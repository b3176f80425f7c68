//! What an undo comes to, by what is found in the place of its object.
//!
//! Whoever undoes reads the object, asks here, does that one write, and asks again where it says so. Nothing here
//! reads or writes: the lab and the network cannot differ in what they take for ours.

use serde_json::{Value, json};

use super::{
    Author, Field, ORIGINAL_ANNOTATION, OWNER_LABEL, ObjectRef, Original, RUN_LABEL, Standing, Undo, UndoOutcome,
};
use crate::journal::enumerated;
use crate::redaction::REDACTED;

/// Where the mark of a change lies.
pub(crate) const MARK: &str = "/metadata/annotations/steadfast.dev~1original";

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// Nothing more.
    End(UndoOutcome),
    /// Delete the object, if it still has this uid.
    Delete {
        /// Its uid.
        uid: String,
    },
    /// Delete the object, if it still has this uid, and ask again once it has gone: it is on its way out.
    Finish {
        /// Its uid.
        uid: String,
    },
    /// Make an object of this, unless [`moved`] says otherwise; [`remade`] says how it ended. Where one of its name is
    /// there by now, ask again.
    Create(Value),
    /// Write this, if the object is still as it was read; then read it and ask again. The change is not there, but its
    /// request may be on its way: after a write it comes for a version that is gone, and is refused.
    Claim(Writes),
    /// Write this, if the object is still as it was read; what it is then like says how it ended.
    Restore(Restoring),
}

/// Values by their JSON pointers; `None` takes the field away.
pub(crate) type Writes = Vec<(String, Option<Value>)>;

/// A restoration that is to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Restoring {
    /// What to write.
    pub(crate) writes: Writes,
    /// What somebody else has changed since: theirs, and left alone.
    superseded: Vec<String>,
}

/// What `undo` comes to where this was found.
pub(crate) fn decide(undo: &Undo, found: Option<&Value>) -> Next {
    let object = undo.object();
    let found = match (undo, found) {
        (_, Some(found)) => found,
        (Undo::Recreate { manifest, .. }, None) => return Next::Create(manifest.clone()),
        (_, None) => return gone(format!("{object} is not found")),
    };
    match undo {
        Undo::Delete { owner, uid, switch, .. } => delete(undo, owner, uid.as_deref(), switch.as_deref(), found),
        Undo::Restore { uid, by, fields, .. } => {
            if uid_of(found) != uid {
                return another(object);
            }
            match by {
                Some(by) => restore(undo, by, uid, fields, found),
                None => by_values(object, fields, found, None),
            }
        }
        // Only looks: what was deleted is not brought back.
        Undo::Deleted { uid, .. } if uid_of(found) != uid => another(object),
        Undo::Deleted { .. } if is_going(found) => gone(format!("{object} is being deleted")),
        Undo::Deleted { .. } => Next::End(UndoOutcome::Reverted),
        Undo::Recreate { uid, .. } if uid_of(found) != uid => gone(stands(object, found)),
        Undo::Recreate { uid, .. } if is_going(found) => Next::Finish { uid: uid.clone() },
        // It was not deleted after all.
        Undo::Recreate { .. } => Next::End(UndoOutcome::Reverted),
    }
}

/// The namespace in which something is to be made again.
pub(crate) fn home(undo: &Undo) -> Option<ObjectRef> {
    let Undo::Recreate { object, namespace: Some(_), .. } = undo else { return None };
    let [api_version, kind, resource] = ["v1", "Namespace", "namespaces"].map(str::to_owned);
    Some(ObjectRef { api_version, kind, resource, namespace: None, name: object.namespace.clone()? })
}

/// Why nothing is made again there, by what was found of its [`home`]: that is not the place any more, or is going.
pub(crate) fn moved(undo: &Undo, found: Option<&Value>) -> Option<String> {
    let (Undo::Recreate { namespace: Some(uid), .. }, Some(home)) = (undo, home(undo)) else { return None };
    match found {
        None => Some(format!("{home} is not found")),
        Some(found) if uid_of(found) != uid => Some(format!("{home} is another one of that name by now")),
        Some(found) if is_going(found) => Some(format!("{home} is being deleted")),
        Some(_) => None,
    }
}

/// How it ended that something was made again: it must be what it was.
pub(crate) fn remade(undo: &Undo, made: &Value) -> UndoOutcome {
    let Undo::Recreate { object, manifest, .. } = undo else { return UndoOutcome::Reverted };
    let of = |object: &Value, key: &str| {
        let counts = ["labels", "annotations", "ownerReferences", "finalizers"];
        match key {
            "metadata" => counts.iter().map(|key| object["metadata"][key].clone()).collect(),
            _ => object[key].clone(),
        }
    };
    let mut keys: Vec<&String> =
        [manifest, made].into_iter().filter_map(Value::as_object).flat_map(|o| o.keys()).collect();
    keys.sort();
    keys.dedup();
    let differ =
        |key: &&String| !matches!(key.as_str(), "apiVersion" | "kind" | "status") && of(manifest, key) != of(made, key);
    let differ: Vec<_> = keys.into_iter().filter(differ).map(String::as_str).collect();
    if differ.is_empty() {
        return UndoOutcome::Reverted;
    }
    UndoOutcome::Unverified { why: format!("{object} was made again, but is not as it was in {}", enumerated(&differ)) }
}

/// What stands in the place of an object that was deleted, and whose it is.
fn stands(object: &ObjectRef, found: &Value) -> String {
    let owners = found["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    let controller = owners.into_iter().find(|owner| owner["controller"] == true);
    let whose = match (found["metadata"]["labels"][RUN_LABEL].as_str(), controller) {
        (Some(run), _) => format!("made by run {run}"),
        (None, Some(controller)) => format!(
            "made by {} {}",
            controller["kind"].as_str().unwrap_or_default().to_lowercase(),
            controller["name"].as_str().unwrap_or_default()
        ),
        (None, None) => "of no run and no controller".to_owned(),
    };
    format!("{object} stands again, {whose}")
}

fn delete(undo: &Undo, owner: &str, uid: Option<&str>, switch: Option<&str>, found: &Value) -> Next {
    let (object, label) = (undo.object(), found["metadata"]["labels"][OWNER_LABEL].as_str());
    let is_it = uid.map(|uid| uid == uid_of(found));
    match (is_it, label) {
        (Some(false), _) => another(object),
        (None, Some(label)) if label == owner && !switch.is_none_or(|switch| belongs_to(found, switch)) => {
            let why = format!(
                "{object} has the name and the labels of ours, but does not go with the run's dead-man's switch, so that \
                 it is left alone; if it may go: `{}`",
                undo.by_hand()
            );
            Next::End(UndoOutcome::Leaked { why })
        }
        (_, Some(label)) if label == owner => Next::Delete { uid: uid_of(found).to_owned() },
        (None, Some(label)) => gone(format!("{object} is not ours: its label {OWNER_LABEL} is {label:?}")),
        (is_it, label) => {
            let ours = if is_it.is_some() { "is ours by its uid" } else { "has the name of ours" };
            let label = label.map_or("is gone".to_owned(), |label| format!("is {label:?} now"));
            let why = format!(
                "{object} {ours}, but its label {OWNER_LABEL} {label}, so that it is left alone; if it may go: `{}`",
                undo.by_hand()
            );
            Next::End(UndoOutcome::Leaked { why })
        }
    }
}

fn restore(undo: &Undo, by: &Author, uid: &str, fields: &[Field], found: &Value) -> Next {
    let object = undo.object();
    let mark = found.pointer(MARK).and_then(Value::as_str).map(Original::read);
    let unproved = match &mark {
        Some(Ok(original)) if original.uid == uid && original.by.owner == by.owner => {
            return by_values(object, fields, found, Some((MARK.to_owned(), None)));
        }
        Some(Ok(original)) if original.uid == uid => {
            let proof = format!("{object} is changed by run {} by now, which found it unchanged", original.by.run);
            return gone(proof);
        }
        Some(Ok(_)) => format!("its annotation {ORIGINAL_ANNOTATION} is that of another object"),
        Some(Err(why)) => format!("its annotation {ORIGINAL_ANNOTATION} cannot be read: {why}"),
        None => format!("its annotation {ORIGINAL_ANNOTATION} is gone"),
    };
    let at = |field: &Field| found.pointer(&field.pointer).cloned();
    if let Some(field) = fields.iter().find(|field| at(field) == field.set && field.set != field.was) {
        let (value, was) = if field.is_secret() {
            (REDACTED.to_owned(), "its old value".to_owned())
        } else {
            (shown(field.set.as_ref()), shown(field.was.as_ref()))
        };
        let why = format!(
            "{} of {object} is {value} as by the fault, but {unproved}, so that it is left alone; if it is not meant, \
             put back {was}: `{}`",
            field.pointer,
            undo.by_hand()
        );
        return Next::End(UndoOutcome::Leaked { why });
    }
    let superseded: Vec<_> = fields.iter().filter(|field| at(field) != field.was).collect();
    match (superseded.is_empty(), mark) {
        (false, _) => superseding(object, superseded.iter().map(|field| field.pointer.as_str())),
        (true, None) => {
            let original = Original { by: by.clone(), uid: uid.to_owned(), fields: fields.to_vec() };
            Next::Claim(vec![(MARK.to_owned(), Some(json!(original.written())))])
        }
        (true, Some(_)) => Next::End(UndoOutcome::Unverified { why: format!("{object} is as before, but {unproved}") }),
    }
}

/// Puts back what still has the fault's value.
fn by_values(object: &ObjectRef, fields: &[Field], found: &Value, mark: Option<(String, Option<Value>)>) -> Next {
    let (mut writes, mut superseded) = (Writes::new(), Vec::new());
    for field in fields {
        let now = found.pointer(&field.pointer);
        if now == field.was.as_ref() {
        } else if now == field.set.as_ref() {
            writes.push((field.pointer.clone(), field.was.clone()));
        } else {
            superseded.push(field.pointer.clone());
        }
    }
    writes.extend(mark);
    match (writes.is_empty(), superseded.is_empty()) {
        (false, _) => Next::Restore(Restoring { writes, superseded }),
        (true, true) => Next::End(UndoOutcome::Reverted),
        (true, false) => superseding(object, superseded.iter().map(String::as_str)),
    }
}

impl Restoring {
    /// How it ended, by what the object is like after the write.
    pub(crate) fn ended(&self, undo: &Undo, after: &Value) -> UndoOutcome {
        let Undo::Restore { object, fields, .. } = undo else { return UndoOutcome::Reverted };
        let ours = fields.iter().filter(|field| !self.superseded.contains(&field.pointer));
        let wrong: Vec<_> = ours.filter(|f| after.pointer(&f.pointer) != f.was.as_ref()).collect();
        if !wrong.is_empty() {
            let wrong: Vec<_> = wrong.into_iter().map(|field| field.pointer.as_str()).collect();
            let why = format!("{object} was written, but {} did not take its old value", wrong.join(", "));
            return UndoOutcome::Unverified { why };
        }
        if !self.superseded.is_empty() && self.superseded.len() == fields.len() {
            return superseded(object, self.superseded.iter().map(String::as_str));
        }
        UndoOutcome::Reverted
    }
}

/// Whether the object that was found is as the fault left it.
pub(crate) fn standing(undo: &Undo, found: Option<&Value>) -> Standing {
    let object = undo.object();
    let by = |by: String| Standing::Gone { by };
    if let Undo::Deleted { uid, .. } = undo {
        return match decide(undo, found) {
            Next::End(UndoOutcome::TargetGone { .. }) => Standing::Stands { uid: uid.clone() },
            _ => by(format!("{object} is still there")),
        };
    }
    if let Undo::Recreate { uid, .. } = undo {
        return match found {
            None => Standing::Stands { uid: uid.clone() },
            Some(found) if uid_of(found) != uid => by(stands(object, found)),
            Some(found) if is_going(found) => Standing::Stands { uid: uid.clone() },
            Some(_) => by(format!("{object} is still there")),
        };
    }
    let Some(found) = found else { return by(format!("{object} was deleted")) };
    match undo {
        // Ours by its uid it stands, whatever became of its label.
        Undo::Delete { uid: Some(uid), .. }
        | Undo::Restore { uid, .. }
        | Undo::Deleted { uid, .. }
        | Undo::Recreate { uid, .. } => {
            if uid_of(found) != uid {
                return by(format!("{object} is another object of that name by now"));
            }
        }
        Undo::Delete { switch: Some(switch), .. } if !belongs_to(found, switch) => {
            return by(format!("{object} is another object of that name by now"));
        }
        Undo::Delete { owner, .. } => {
            let label = found["metadata"]["labels"][OWNER_LABEL].as_str();
            if label != Some(owner) {
                return by(format!("{object} is not ours: its label {OWNER_LABEL} is {label:?}"));
            }
        }
    }
    if is_going(found) {
        return by(format!("{object} is being deleted"));
    }
    if let Undo::Restore { fields, .. } = undo
        && let Some(field) = fields.iter().find(|field| found.pointer(&field.pointer) != field.set.as_ref())
    {
        return by(format!("{} of {object} was changed", field.pointer));
    }
    Standing::Stands { uid: uid_of(found).to_owned() }
}

/// Whether an object goes with a switch: so it was made, and no other of its name was.
fn belongs_to(found: &Value, switch: &str) -> bool {
    found["metadata"]["ownerReferences"].as_array().into_iter().flatten().any(|owner| owner["uid"] == switch)
}

fn uid_of(found: &Value) -> &str {
    found["metadata"]["uid"].as_str().unwrap_or_default()
}

fn is_going(found: &Value) -> bool {
    !found["metadata"]["deletionTimestamp"].is_null()
}

fn gone(proof: String) -> Next {
    Next::End(UndoOutcome::TargetGone { proof })
}

fn another(object: &ObjectRef) -> Next {
    gone(format!("{object} is another object of that name by now"))
}

fn superseding<'a>(object: &ObjectRef, pointers: impl Iterator<Item = &'a str>) -> Next {
    Next::End(superseded(object, pointers))
}

/// Nothing of the fault is left where somebody else has set all that it did.
fn superseded<'a>(object: &ObjectRef, pointers: impl Iterator<Item = &'a str>) -> UndoOutcome {
    let pointers: Vec<_> = pointers.collect();
    UndoOutcome::TargetGone { proof: format!("{} of {object} was changed by somebody else since", pointers.join(", ")) }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or("absent".to_owned(), Value::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str) -> Field {
        Field { pointer: format!("/spec/{name}"), set: Some(json!("bad")), was: Some(json!("good")) }
    }

    fn by(owner: &str) -> Author {
        Author { run: "r".into(), owner: owner.into() }
    }

    /// Of two fields.
    fn restore(by: Option<Author>) -> Undo {
        Undo::Restore { object: ObjectRef::front(), uid: "u".into(), by, fields: vec![field("a"), field("b")] }
    }

    fn found(a: &str, b: &str, mark: Option<&str>) -> Value {
        let mut found = json!({"metadata": {"uid": "u", "annotations": {}}, "spec": {"a": a, "b": b}});
        if let Some(owner) = mark {
            let original = Original { by: by(owner), uid: "u".into(), fields: vec![] };
            found["metadata"]["annotations"][ORIGINAL_ANNOTATION] = json!(original.written());
        }
        found
    }

    fn recreate(manifest: Value) -> Undo {
        let (namespace, deleted) = (Some("home".to_owned()), crate::clock::Timestamp::UNIX_EPOCH);
        Undo::Recreate { object: ObjectRef::front(), uid: "u".into(), namespace, deleted, manifest }
    }

    fn good(name: &str) -> (String, Option<Value>) {
        (format!("/spec/{name}"), Some(json!("good")))
    }

    #[test]
    fn the_mark_lies_where_it_is_looked_for() {
        assert_eq!(super::super::keys(MARK).collect::<Vec<_>>(), ["metadata", "annotations", ORIGINAL_ANNOTATION]);
    }

    #[test]
    fn under_our_mark_what_is_ours_is_put_back_and_the_mark_goes() {
        let unmark = (MARK.to_owned(), None);
        let (undo, marked) = (restore(Some(by("o"))), Some("o"));
        let writes = |a, b| match decide(&undo, Some(&found(a, b, marked))) {
            Next::Restore(restoring) => (restoring.writes, restoring.superseded),
            other => panic!("{other:?}"),
        };
        assert_eq!(writes("bad", "bad"), (vec![good("a"), good("b"), unmark.clone()], vec![]));
        assert_eq!(writes("bad", "third"), (vec![good("a"), unmark.clone()], vec!["/spec/b".to_owned()]));
        assert_eq!(writes("good", "good"), (vec![unmark.clone()], vec![]));
        assert_eq!(writes("third", "third"), (vec![unmark], vec!["/spec/a".to_owned(), "/spec/b".to_owned()]));
    }

    #[test]
    fn what_was_written_is_read_back() {
        let undo = restore(Some(by("o")));
        let ended = |before: (&str, &str), after: (&str, &str)| {
            let Next::Restore(restoring) = decide(&undo, Some(&found(before.0, before.1, Some("o")))) else {
                panic!("nothing to write")
            };
            restoring.ended(&undo, &found(after.0, after.1, None)).to_string()
        };
        assert_eq!(ended(("bad", "bad"), ("good", "good")), "reverted");
        assert_eq!(ended(("bad", "third"), ("good", "third")), "reverted");
        assert!(ended(("bad", "bad"), ("good", "bad")).starts_with("unverified: service default/front was written"));
        assert!(ended(("third", "third"), ("third", "third")).starts_with("target gone (/spec/a, /spec/b of"));
    }

    #[test]
    fn what_is_left_alone_is_told_without_a_secret() {
        let (set, was) = (Some(json!("wrong-value")), Some(json!("brass-lantern")));
        let fields = vec![Field { pointer: "/data/DB_PASSWORD".into(), set, was }];
        let undo = Undo::Restore { object: ObjectRef::front(), uid: "u".into(), by: Some(by("o")), fields };
        let found = json!({"metadata": {"uid": "u"}, "data": {"DB_PASSWORD": "wrong-value"}});
        let Next::End(UndoOutcome::Leaked { why }) = decide(&undo, Some(&found)) else { panic!("it is left alone") };
        assert!(!why.contains("brass-lantern") && !why.contains("wrong-value"), "{why}");
        assert!(why.contains("put back its old value: `kubectl edit services front -n default`"), "{why}");
    }

    #[test]
    fn without_our_mark_nothing_is_put_back() {
        let undo = restore(Some(by("o")));
        let end = |a, b, mark| match decide(&undo, Some(&found(a, b, mark))) {
            Next::End(outcome) => outcome,
            other => panic!("{other:?}"),
        };
        let theirs = end("bad", "bad", Some("another"));
        assert!(theirs.is_clean() && theirs.to_string().contains("changed by run r"), "{theirs}");
        assert!(matches!(end("bad", "good", None), UndoOutcome::Leaked { .. }));
        assert!(end("third", "good", None).is_clean(), "somebody wrote it, so that nothing of ours can come");
        let Next::Claim(writes) = decide(&undo, Some(&found("good", "good", None))) else { panic!("it may come") };
        assert_eq!(writes.len(), 1);
        let mark = Original::read(writes[0].1.as_ref().and_then(Value::as_str).unwrap()).unwrap();
        assert_eq!((mark.by.owner.as_str(), mark.fields.len()), ("o", 2));
    }

    #[test]
    fn what_leaves_no_mark_is_known_by_its_values_alone() {
        let undo = restore(None);
        let Next::Restore(restoring) = decide(&undo, Some(&found("bad", "third", Some("another")))) else {
            panic!("nothing is put back")
        };
        assert_eq!(restoring.writes, [good("a")], "and another's mark stays");
        assert_eq!(decide(&undo, Some(&found("good", "good", None))), Next::End(UndoOutcome::Reverted));
    }

    #[test]
    fn another_object_of_the_name_is_left_alone_by_every_undo() {
        let (object, uid) = (ObjectRef::front(), "v".to_owned());
        for undo in [
            Undo::Delete { object: object.clone(), owner: "o".into(), uid: Some(uid.clone()), switch: None },
            Undo::Restore { object: object.clone(), uid: uid.clone(), by: Some(by("o")), fields: vec![field("a")] },
            Undo::Deleted { object, uid },
        ] {
            for found in [None, Some(&found("bad", "bad", Some("o")))] {
                let next = decide(&undo, found);
                assert!(matches!(&next, Next::End(UndoOutcome::TargetGone { .. })), "{undo}: {next:?}");
                let stands = matches!(standing(&undo, found), Standing::Stands { .. });
                assert_eq!(stands, matches!(undo, Undo::Deleted { .. }), "{undo}: what was to go has gone");
            }
        }
    }

    #[test]
    fn what_was_deleted_is_made_again_unless_one_of_its_name_stands() {
        let manifest = json!({"metadata": {"name": "front"}, "spec": {"a": 1}});
        let undo = recreate(manifest.clone());
        assert_eq!(decide(&undo, None), Next::Create(manifest));
        assert!(matches!(standing(&undo, None), Standing::Stands { .. }), "it is still deleted");
        let there = json!({"metadata": {"uid": "u"}});
        assert_eq!(decide(&undo, Some(&there)), Next::End(UndoOutcome::Reverted), "it was not deleted after all");
        assert!(matches!(standing(&undo, Some(&there)), Standing::Gone { .. }));
        let going = json!({"metadata": {"uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(decide(&undo, Some(&going)), Next::Finish { uid: "u".into() });
        assert!(matches!(standing(&undo, Some(&going)), Standing::Stands { .. }));
        for (metadata, whose) in [
            (json!({"uid": "v"}), "of no run and no controller"),
            (json!({"uid": "v", "labels": {RUN_LABEL: "r"}}), "made by run r"),
            (
                json!({"uid": "v", "ownerReferences": [{"kind": "ReplicaSet", "name": "back-1", "controller": true}]}),
                "made by replicaset back-1",
            ),
        ] {
            let Next::End(UndoOutcome::TargetGone { proof }) = decide(&undo, Some(&json!({"metadata": metadata})))
            else {
                panic!("another of its name stands")
            };
            assert_eq!(proof, format!("service default/front stands again, {whose}"));
            assert!(matches!(standing(&undo, Some(&json!({"metadata": metadata}))), Standing::Gone { .. }));
        }
    }

    #[test]
    fn nothing_is_made_again_in_another_namespace_of_that_name() {
        let undo = recreate(json!({}));
        assert_eq!(home(&undo).expect("it lies in one").to_string(), "namespace default");
        let found = |uid: &str, going: Value| json!({"metadata": {"uid": uid, "deletionTimestamp": going}});
        assert_eq!(moved(&undo, Some(&found("home", Value::Null))), None);
        for (found, why) in [
            (None, "namespace default is not found"),
            (Some(found("other", Value::Null)), "namespace default is another one of that name by now"),
            (Some(found("home", json!("2026-01-01T00:00:00Z"))), "namespace default is being deleted"),
        ] {
            assert_eq!(moved(&undo, found.as_ref()).as_deref(), Some(why));
        }
        assert_eq!(moved(&restore(None), None), None, "what is there shows itself where it is");
    }

    #[test]
    fn what_was_made_again_must_be_what_it_was() {
        let manifest = json!({"spec": {"a": 1}, "metadata": {"name": "front", "labels": {"a": "b"}}});
        let undo = recreate(manifest.clone());
        let mut made = manifest;
        (made["kind"], made["status"], made["metadata"]["uid"]) = (json!("Service"), json!({"x": 1}), json!("v"));
        assert_eq!(remade(&undo, &made), UndoOutcome::Reverted);
        (made["spec"]["a"], made["metadata"]["labels"]) = (json!(2), json!({}));
        let why = remade(&undo, &made).to_string();
        assert_eq!(why, "unverified: service default/front was made again, but is not as it was in metadata and spec");
    }

    #[test]
    fn a_manifest_is_without_what_the_cluster_gives() {
        let found = json!({
            "kind": "Service", "status": {"x": 1}, "spec": {"clusterIP": "10.0.0.1"},
            "metadata": {"name": "n", "uid": "u", "resourceVersion": "7", "generation": 2, "labels": {"a": "b"},
                "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{}]},
        });
        let kept = json!({
            "kind": "Service", "spec": {"clusterIP": "10.0.0.1"}, "metadata": {"name": "n", "labels": {"a": "b"}},
        });
        assert_eq!(super::super::manifest(&found), kept);
    }

    /// Its uid is not known where the answer to its creation was lost.
    #[test]
    fn without_its_uid_what_belongs_to_the_switch_is_ours() {
        let switch = Some("s".to_owned());
        let undo = Undo::Delete { object: ObjectRef::front(), owner: "o".into(), uid: None, switch };
        let made =
            |owners: Value| json!({"metadata": {"uid": "u", "labels": {OWNER_LABEL: "o"}, "ownerReferences": owners}});
        let ours = made(json!([{"uid": "s"}]));
        assert_eq!(decide(&undo, Some(&ours)), Next::Delete { uid: "u".into() });
        assert!(matches!(standing(&undo, Some(&ours)), Standing::Stands { .. }));
        for theirs in [made(Value::Null), made(json!([{"uid": "t"}]))] {
            assert!(matches!(decide(&undo, Some(&theirs)), Next::End(UndoOutcome::Leaked { .. })));
            assert!(matches!(standing(&undo, Some(&theirs)), Standing::Gone { .. }));
        }
    }

    #[test]
    fn a_mark_of_the_first_format_is_read_and_one_of_the_next_is_not() {
        let first = r#"{"run": "r", "owner": "o", "uid": "u", "fields": [{"pointer": "/x", "set": 1, "was": null}]}"#;
        let read = Original::read(first).unwrap();
        assert_eq!((read.by, read.fields.len()), (by("o"), 1));
        let next = first.replacen('{', r#"{"version": 2, "#, 1);
        assert!(Original::read(&next).unwrap_err().contains("version 2"));
        assert!(Original::read("{}").is_err());
    }
}
