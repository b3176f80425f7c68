//! An undo is data: it can be written down before the fault and carried out by whoever survives.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::redaction::{self, REDACTED, holds_secret};

/// The newest version of the [`Undo`] format. A line of a ledger has the oldest that all its undos can be read by.
pub const UNDO_VERSION: u32 = 2;

/// Until when after a deletion a run that begins makes the object again unasked, if nobody did before: 24 h. What was
/// away for longer may be away by somebody's will by now; `steadfast sweep` makes it again.
pub const RECREATE_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The version of what [`ORIGINAL_ANNOTATION`] holds.
const ORIGINAL_VERSION: u32 = 1;

/// The label that names the run on everything that a run creates.
pub const RUN_LABEL: &str = "steadfast.dev/run";

/// The label that names the ledger entry on everything that a fault creates: the proof that an object is ours.
pub const OWNER_LABEL: &str = "steadfast.dev/owner";

/// The annotation that holds the original values of an object that a fault changes, in the same write as the fault.
pub const ORIGINAL_ANNOTATION: &str = "steadfast.dev/original";

/// One object of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectRef {
    /// `group/version`, or `v1` for the core group.
    pub api_version: String,
    /// `NetworkPolicy`.
    pub kind: String,
    /// The plural in its URL: `networkpolicies`.
    pub resource: String,
    /// The namespace, if the kind has one.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

#[cfg(test)]
impl ObjectRef {
    /// A Service, for tests.
    pub(crate) fn front() -> Self {
        let [api_version, kind, resource, name] = ["v1", "Service", "services", "front"].map(str::to_owned);
        Self { api_version, kind, resource, namespace: Some("default".to_owned()), name }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.to_lowercase();
        match &self.namespace {
            Some(namespace) => write!(f, "{kind} {namespace}/{}", self.name),
            None => write!(f, "{kind} {}", self.name),
        }
    }
}

/// How to take a fault back. Idempotent, and true even if the fault never happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "kebab-case")]
pub enum Undo {
    /// Delete an object that the fault created: only with this owner label, and only with this uid once it is known.
    Delete {
        /// The object.
        object: ObjectRef,
        /// The value of its [`OWNER_LABEL`].
        owner: String,
        /// Its uid, unknown until it was created.
        uid: Option<String>,
        /// The uid of the dead-man's switch that it belongs to, if there is one: as long as its own is not known, this is
        /// what another object of the same name and labels does not have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        switch: Option<String>,
    },
    /// Put recorded values back into an object that existed before, each only where the fault's value still stands.
    Restore {
        /// The object.
        object: ObjectRef,
        /// Its uid: an object of the same name made since is left alone.
        uid: String,
        /// Who left the old values on the object, in [`ORIGINAL_ANNOTATION`]: only under that annotation is anything
        /// put back. `None` for a fault that leaves none; then uid and values alone decide.
        #[serde(default)]
        by: Option<Author>,
        /// The values, in the order in which they are put back.
        fields: Vec<Field>,
    },
    /// An object that the fault deleted and whose controller replaces it: nothing is brought back, it is only looked at.
    Deleted {
        /// The object.
        object: ObjectRef,
        /// Its uid.
        uid: String,
    },
    /// Make an object again that the fault deleted and that nothing else brings back, unless one of its name stands.
    Recreate {
        /// The object.
        object: ObjectRef,
        /// The uid that it had.
        uid: String,
        /// The uid of its namespace, if it lies in one: one of that name made since is another place.
        namespace: Option<String>,
        /// When it was about to be deleted.
        deleted: Timestamp,
        /// What to make it of: its manifest, as [`manifest`] cleans it.
        manifest: Value,
    },
}

impl Undo {
    /// The object that this undo is about.
    #[must_use]
    pub fn object(&self) -> &ObjectRef {
        match self {
            Self::Delete { object, .. }
            | Self::Restore { object, .. }
            | Self::Deleted { object, .. }
            | Self::Recreate { object, .. } => object,
        }
    }

    /// The oldest version that knows it: the first one made again what lay in any namespace of that name, at any time.
    pub(super) fn version(&self) -> u32 {
        match self {
            Self::Delete { .. } | Self::Restore { .. } | Self::Deleted { .. } => 1,
            Self::Recreate { .. } => UNDO_VERSION,
        }
    }

    /// The command with which a person undoes it.
    pub(crate) fn by_hand(&self) -> String {
        let object = self.object();
        let namespace = object.namespace.as_ref().map(|n| format!(" -n {n}")).unwrap_or_default();
        let (verb, values) = match self {
            Self::Delete { .. } => ("delete", None),
            Self::Restore { .. } => match put_back(&self.told_values()) {
                Some(values) => ("patch", Some(values)),
                None => ("edit", None),
            },
            Self::Deleted { .. } => ("get", None),
            Self::Recreate { manifest, .. } if is_secret(object) || holds_secret("", manifest) => {
                return "steadfast sweep".to_owned();
            }
            Self::Recreate { manifest, .. } => return format!("kubectl create -f - <<'EOF'\n{manifest}\nEOF"),
        };
        format!("kubectl {verb} {} {}{namespace}{}", object.resource, object.name, values.unwrap_or_default())
    }

    /// The values that it puts back, where they may be told and are few enough to be.
    pub(crate) fn told_values(&self) -> Vec<Field> {
        match self {
            Self::Restore { object, fields, .. } if !is_secret(object) && put_back(fields).is_some() => fields.clone(),
            _ => Vec::new(),
        }
    }
}

fn is_secret(object: &ObjectRef) -> bool {
    object.kind == "Secret"
}

/// The most letters of a command's values.
const MOST_VALUES: usize = 1_500;

impl Field {
    /// Whether its values must not be told: by a name of the pointer, or by one in them.
    pub(crate) fn is_secret(&self) -> bool {
        let keys = || self.pointer.split('/');
        let name = keys().find(|key| redaction::is_secret(key)).or(keys().next_back()).unwrap_or_default();
        [&self.set, &self.was].into_iter().flatten().any(|value| holds_secret(name, value))
    }

    /// Whether its values are as they were, and may be told.
    fn is_told(&self) -> bool {
        let redacted = |value: &Value| value.to_string().contains(REDACTED);
        !self.is_secret() && ![&self.set, &self.was].into_iter().flatten().any(redacted)
    }
}

/// How kubectl puts values back, each only where the fault's still stands; `None` without any, for too many letters, and
/// where one of them is a secret, or had one that was taken out: what stands there instead would be put into the cluster.
pub(crate) fn put_back(fields: &[Field]) -> Option<String> {
    let mut patch = Vec::new();
    for Field { pointer: path, set, was } in fields.iter().filter(|field| field.set != field.was) {
        if let Some(value) = set {
            patch.push(json!({"op": "test", "path": path, "value": value}));
        }
        patch.push(match (set, was) {
            (_, None) => json!({"op": "remove", "path": path}),
            (Some(_), Some(value)) => json!({"op": "replace", "path": path, "value": value}),
            (None, Some(value)) => json!({"op": "add", "path": path, "value": value}),
        });
    }
    if patch.is_empty() {
        return None;
    }
    let mut text = String::new();
    // What is no plain letter is written as JSON may write it, and so is what would end the shell's quotation.
    for letter in Value::Array(patch).to_string().chars() {
        match letter {
            '\'' => text.push_str("\\u0027"),
            letter if letter.is_ascii() => text.push(letter),
            letter => letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    (text.len() <= MOST_VALUES && fields.iter().all(Field::is_told)).then(|| format!(" --type=json -p '{text}'"))
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete { object, .. } => write!(f, "delete {object}"),
            Self::Restore { object, fields, .. } if fields.is_empty() => {
                write!(f, "take the copies of the mark of {object} away")
            }
            Self::Restore { object, fields, .. } => {
                let paths: Vec<_> = fields.iter().map(|field| field.pointer.as_str()).collect();
                write!(f, "restore {} of {object}", paths.join(", "))
            }
            Self::Deleted { object, .. } => write!(f, "see that {object} was deleted"),
            Self::Recreate { object, .. } => write!(f, "make {object} again"),
        }
    }
}

/// What an object can be made of again: without its status, and without what the cluster gives to each object anew.
#[must_use]
pub fn manifest(found: &Value) -> Value {
    let mut manifest = found.clone();
    if let Some(all) = manifest.as_object_mut() {
        all.remove("status");
    }
    if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
        for given in OF_THE_CLUSTER {
            metadata.remove(*given);
        }
    }
    manifest
}

/// What the cluster gives to each object anew.
const OF_THE_CLUSTER: &[&str] = &[
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// One value of an object. `None` stands for an absent field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// A JSON pointer: `/spec/replicas`.
    pub pointer: String,
    /// What the fault wrote.
    pub set: Option<Value>,
    /// What was there before.
    pub was: Option<Value>,
}

/// The keys of a JSON pointer, from the outermost.
#[cfg(feature = "kubernetes")]
pub(crate) fn keys(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~"))
}

/// Which ledger entry of which run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The run.
    pub run: String,
    /// The ledger entry: the owner that its [`OWNER_LABEL`] would name.
    pub owner: String,
}

/// What [`ORIGINAL_ANNOTATION`] holds: enough to undo the change by the object alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Original {
    /// Who changed it.
    #[serde(flatten)]
    pub by: Author,
    /// The object's uid: the annotation of an object that was copied proves nothing.
    pub uid: String,
    /// What was changed.
    pub fields: Vec<Field>,
}

impl Original {
    /// Reads the annotation's text.
    ///
    /// # Errors
    /// It is no such text, or of a version that is not known here; in words.
    pub fn read(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        // The first ones said no version.
        let version = value.get("version").map_or(Some(ORIGINAL_VERSION.into()), Value::as_u64);
        if version != Some(ORIGINAL_VERSION.into()) {
            let version = &value["version"];
            return Err(format!("its format has version {version}, this steadfast knows {ORIGINAL_VERSION}"));
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    /// The annotation's text.
    #[must_use]
    pub fn written(&self) -> String {
        let Self { by, uid, fields } = self;
        serde_json::json!({"version": ORIGINAL_VERSION, "run": by.run, "owner": by.owner, "uid": uid, "fields": fields})
            .to_string()
    }
}

/// How an undo ended. Only the first two may end a green test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum UndoOutcome {
    /// Taken back, and read back to be sure.
    Reverted,
    /// What was to be undone is not there any more, or is a namespace whose deletion nothing can stop.
    TargetGone {
        /// What shows it.
        proof: String,
    },
    /// Asked for, but nothing shows that it is done.
    Unverified {
        /// What is missing.
        why: String,
    },
    /// The fault is still there.
    Leaked {
        /// What went wrong, and how to undo it by hand.
        why: String,
    },
}

impl UndoOutcome {
    /// Whether the fault is known to be gone.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::Reverted | Self::TargetGone { .. })
    }

    /// What became of an undo, in words: the undo alone if it is done.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn of(&self, undo: &impl fmt::Display) -> String {
        if self.is_clean() { undo.to_string() } else { format!("{undo} (not done: {self})") }
    }
}

impl fmt::Display for UndoOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reverted => f.write_str("reverted"),
            Self::TargetGone { proof } => write!(f, "target gone ({proof})"),
            Self::Unverified { why } => write!(f, "unverified: {why}"),
            Self::Leaked { why } => write!(f, "leaked: {why}"),
        }
    }
}

/// Carries out undos on one cluster.
pub trait Undoer: Send + Sync {
    /// Undoes, reads back, and says how it ended. Never acts on an object that the undo does not prove ours.
    fn undo<'a>(&'a self, undo: &'a Undo) -> BoxFuture<'a, UndoOutcome>;

    /// Whether the undo could still change something: the object exists and is the one that the undo means.
    ///
    /// # Errors
    /// The cluster does not answer.
    fn stands<'a>(&'a self, undo: &'a Undo) -> BoxFuture<'a, Result<Standing, String>>;

    /// How to undo from a `Drop`, which cannot wait for a future.
    fn in_drop(&self) -> InDrop;
}

/// What became of an object that a fault made or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As the fault left it.
    Stands {
        /// Its uid.
        uid: String,
    },
    /// Gone, replaced, or changed by somebody else; in words.
    Gone {
        /// What is there instead.
        by: String,
    },
}

/// Makes an undoer of its own, on the thread and the runtime that will use it.
pub type Connect = std::sync::Arc<dyn Fn() -> BoxFuture<'static, Result<Box<dyn Undoer>, String>> + Send + Sync>;

/// How to undo from a `Drop`.
#[derive(Clone)]
pub enum InDrop {
    /// The undoer's futures never wait: poll them once, on this thread.
    Inline,
    /// On the reaper's thread, with an undoer made there: one made elsewhere needs a runtime that `drop` is blocking.
    Reaper(Connect),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restore(pointer: &str, set: Value, was: Value) -> Undo {
        let fields = vec![Field { pointer: pointer.to_owned(), set: Some(set), was: Some(was) }];
        Undo::Restore { object: ObjectRef::front(), uid: "u".into(), by: None, fields }
    }

    #[test]
    fn an_old_value_under_a_name_that_means_a_secret_is_not_told() {
        let plain = restore("/data/LEVEL", json!("debug"), json!("info"));
        assert_eq!(plain.told_values().len(), 1);
        assert!(plain.by_hand().starts_with("kubectl patch services front -n default "), "{}", plain.by_hand());
        let env = |value: &str| json!([{"name": "LEVEL", "value": "info"}, {"name": "DB_PASSWORD", "value": value}]);
        for undo in [
            restore("/data/DB_PASSWORD", json!("wrong"), json!("brass-lantern")),
            restore("/data/credentials/of", json!("wrong"), json!("brass-lantern")),
            restore("/spec/template/spec/containers/0/env", env("wrong"), env("brass-lantern")),
            restore("/spec/template/spec/containers", json!([{"env": []}]), json!([{"env": env("brass-lantern")}])),
        ] {
            assert_eq!(undo.told_values(), []);
            assert_eq!(undo.by_hand(), "kubectl edit services front -n default");
        }
        let (namespace, deleted) = (None, Timestamp::UNIX_EPOCH);
        let again = |manifest| Undo::Recreate {
            object: ObjectRef::front(),
            uid: "u".into(),
            namespace: namespace.clone(),
            deleted,
            manifest,
        };
        assert!(again(json!({"spec": {"env": []}})).by_hand().starts_with("kubectl create "));
        assert_eq!(again(json!({"spec": {"env": env("brass-lantern")}})).by_hand(), "steadfast sweep");
    }
}
