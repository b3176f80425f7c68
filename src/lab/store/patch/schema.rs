//! What patches and field management need to know of a kind: how its lists and maps are merged.
//!
//! The built-in kinds are in `schema.txt`, one struct a line: its name (`|atomic`: a write replaces it as a whole),
//! then its fields, each `name:TYPE`. `name!` is required, `name+` is always there in Go (a struct that is no
//! pointer). A type is `s` text, `i` integer, `n` number, `b` boolean, `x` number or text, `?` anything, the name of a
//! struct, `{T}` a map, `[T]` a list. Then marks: `|map(KEYS)` a list of objects with these keys, `|set` a list of
//! distinct values (a list without either is one value), `|atomic` a map that is one value; for strategic patches
//! `|merge(KEY)`, `|retain`, `|replace`; `=V` the default of a key. The facts are those of a 1.34 server's OpenAPI.
//!
//! Custom kinds are read from the OpenAPI schema of their definition.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::lab::resource::Resource;

/// How the items of a list are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// The list is one value.
    Atomic,
    /// By their value.
    Set,
    /// By these fields.
    Keys(Vec<String>),
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    /// Text.
    Text,
    /// A number.
    Number,
    /// A boolean.
    Boolean,
    /// Text or a number.
    Either,
    /// Anything: its maps are merged, its lists are one value.
    Any,
    /// A map with free keys.
    Map { items: Box<Type>, atomic: bool },
    /// A list.
    List { items: Box<Type>, relation: Relation },
    /// A struct, by its place in the schema.
    Struct(usize),
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    /// Its type.
    pub ty: Type,
    /// Always there: a struct that is no pointer in Go, or a list that has no `omitempty`.
    pub always: bool,
    /// A strategic patch merges the list, by this key; `Some("")` merges plain values.
    pub merge: Option<String>,
    /// A strategic patch puts the value in the place of the old one.
    pub replace: bool,
    /// What an item without this key has.
    pub default: Option<Value>,
}

/// A struct.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Struct {
    name: String,
    atomic: bool,
    /// Fields that are not listed are allowed.
    open: bool,
    fields: BTreeMap<String, Field>,
}

/// The structs of a kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schema {
    /// How many built-in structs come before these.
    base: usize,
    structs: Vec<Struct>,
}

impl Schema {
    fn get(&self, at: usize) -> &Struct {
        if at < self.base { &BUILT_IN.structs[at] } else { &self.structs[at - self.base] }
    }

    fn add(&mut self, made: Struct) -> Type {
        self.structs.push(made);
        Type::Struct(self.base + self.structs.len() - 1)
    }
}

/// A type in its schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'s> {
    schema: &'s Schema,
    ty: &'s Type,
}

/// What a value is to field management.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Atom<'s> {
    /// One value: it has one owner.
    Leaf,
    /// A list whose items have owners.
    List(&'s Relation, View<'s>),
    /// A map or struct whose fields have owners.
    Map(View<'s>),
}

static BUILT_IN: LazyLock<Schema> = LazyLock::new(|| parse(include_str!("schema.txt")));

/// The schema of a kind and its type in it; `definition` is the CustomResourceDefinition of a custom kind.
pub(crate) struct Model {
    schema: std::borrow::Cow<'static, Schema>,
    root: Type,
}

impl Model {
    /// The model of a kind. A custom one without a definition takes anything.
    pub(crate) fn of(resource: &Resource, definition: Option<&Value>) -> Self {
        if resource.custom {
            return Self::custom(resource, definition);
        }
        Self::named(resource.kind)
    }

    fn named(kind: &str) -> Self {
        let root = BUILT_IN.structs.iter().position(|s| s.name == kind).map_or(Type::Any, Type::Struct);
        Self { schema: std::borrow::Cow::Borrowed(&BUILT_IN), root }
    }

    fn custom(resource: &Resource, definition: Option<&Value>) -> Self {
        let versions = definition.and_then(|d| d["spec"]["versions"].as_array()).map(Vec::as_slice).unwrap_or_default();
        let version = versions.iter().find(|version| version["name"] == resource.version);
        let mut schema = Schema { base: BUILT_IN.structs.len(), structs: Vec::new() };
        let metadata = BUILT_IN.structs.iter().position(|s| s.name == "ObjectMeta").map_or(Type::Any, Type::Struct);
        let declared = version.map_or(&Value::Null, |version| &version["schema"]["openAPIV3Schema"]);
        let mut root = declared_struct(&mut schema, declared);
        let plain = |ty: Type| Field { ty, always: false, merge: None, replace: false, default: None };
        root.fields.insert("apiVersion".into(), plain(Type::Text));
        root.fields.insert("kind".into(), plain(Type::Text));
        root.fields.insert("metadata".into(), plain(metadata));
        if declared.is_null() {
            root.open = true;
        }
        let root = schema.add(root);
        Self { schema: std::borrow::Cow::Owned(schema), root }
    }

    /// The type of the whole object.
    pub(crate) fn view(&self) -> View<'_> {
        View { schema: &self.schema, ty: &self.root }
    }
}

impl<'s> View<'s> {
    /// What `value` is, by its type and, where that takes anything, by itself.
    pub(crate) fn atom(self, value: Option<&Value>) -> Atom<'s> {
        match self.ty {
            Type::Text | Type::Number | Type::Boolean | Type::Either => Atom::Leaf,
            Type::Any if value.is_some_and(Value::is_object) => Atom::Map(self),
            Type::Any => Atom::Leaf,
            Type::Map { atomic, .. } if !atomic => Atom::Map(self),
            Type::Struct(at) if !self.schema.get(*at).atomic => Atom::Map(self),
            Type::List { items, relation } if *relation != Relation::Atomic => {
                Atom::List(relation, View { schema: self.schema, ty: items })
            }
            Type::Map { .. } | Type::Struct(_) | Type::List { .. } => Atom::Leaf,
        }
    }

    /// The type of a field or of a map's values.
    pub(crate) fn child(self, key: &str) -> View<'s> {
        let ty = match self.ty {
            Type::Struct(at) => self.schema.get(*at).fields.get(key).map_or(&Type::Any, |field| &field.ty),
            Type::Map { items, .. } => items,
            _ => &Type::Any,
        };
        View { schema: self.schema, ty }
    }

    /// The items' type.
    pub(crate) fn items(self) -> View<'s> {
        let ty = if let Type::List { items, .. } = self.ty { items } else { &Type::Any };
        View { schema: self.schema, ty }
    }

    /// The field of a struct.
    pub(crate) fn field(self, key: &str) -> Option<&'s Field> {
        match self.ty {
            Type::Struct(at) => self.schema.get(*at).fields.get(key),
            _ => None,
        }
    }

    /// Whether the type is a struct that does not have this field.
    pub(crate) fn refuses(self, key: &str) -> bool {
        match self.ty {
            Type::Struct(at) => !self.schema.get(*at).open && self.field(key).is_none(),
            _ => false,
        }
    }

    /// The type itself.
    pub(crate) fn ty(self) -> &'s Type {
        self.ty
    }

    /// A new object as Go makes it: what is always there and nothing else.
    pub(crate) fn empty(self) -> Value {
        let Type::Struct(at) = self.ty else { return json!({}) };
        let fields = self.schema.get(*at).fields.iter().filter(|(_, field)| field.always);
        let made: Map<String, Value> = fields
            .map(|(key, field)| {
                let made = match field.ty {
                    Type::Struct(_) => View { schema: self.schema, ty: &field.ty }.empty(),
                    _ => Value::Null,
                };
                (key.clone(), made)
            })
            .collect();
        Value::Object(made)
    }
}

fn parse(text: &str) -> Schema {
    let names: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let bare = |head: &str| head.split('|').next().unwrap_or_default().to_owned();
    let index: BTreeMap<String, usize> = names.iter().enumerate().map(|(at, (head, _))| (bare(head), at)).collect();
    let structs = names
        .iter()
        .map(|(head, rest)| Struct {
            name: bare(head),
            atomic: head.ends_with("|atomic"),
            open: false,
            fields: rest.split(' ').filter_map(|field| parse_field(field, &index)).collect(),
        })
        .collect();
    Schema { base: 0, structs }
}

fn parse_field(text: &str, index: &BTreeMap<String, usize>) -> Option<(String, Field)> {
    let (name, rest) = text.split_once(':')?;
    let (rest, default) = rest.split_once('=').map_or((rest, None), |(rest, value)| (rest, Some(json!(value))));
    let mut marks = rest.split('|');
    let mut ty = parse_type(marks.next()?, index);
    let (mut merge, mut replace) = (None, false);
    for mark in marks {
        let (word, inside) = mark.split_once('(').unwrap_or((mark, ""));
        let inside = inside.trim_end_matches(')');
        match (word, &mut ty) {
            ("map", Type::List { relation, .. }) => {
                *relation = Relation::Keys(inside.split(',').map(str::to_owned).collect());
            }
            ("set", Type::List { relation, .. }) => *relation = Relation::Set,
            ("atomic", Type::Map { atomic, .. }) => *atomic = true,
            ("merge", _) => merge = Some(inside.to_owned()),
            ("replace", _) => replace = true,
            _ => {}
        }
    }
    let (required, inline) = (name.contains('!'), name.ends_with('+'));
    let name = name.trim_end_matches(['!', '+']).to_owned();
    let listed = matches!(ty, Type::List { .. } | Type::Map { .. });
    let always = if matches!(ty, Type::Struct(_)) { inline } else { required && listed };
    Some((name, Field { ty, always, merge, replace, default }))
}

fn parse_type(text: &str, index: &BTreeMap<String, usize>) -> Type {
    let inside = |open, close| text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    if let Some(items) = inside('[', ']') {
        return Type::List { items: Box::new(parse_type(items, index)), relation: Relation::Atomic };
    }
    if let Some(items) = inside('{', '}') {
        return Type::Map { items: Box::new(parse_type(items, index)), atomic: false };
    }
    match text {
        "s" => Type::Text,
        "i" | "n" => Type::Number,
        "b" => Type::Boolean,
        "x" => Type::Either,
        name => index.get(name).map_or(Type::Any, |at| Type::Struct(*at)),
    }
}

/// The struct that an OpenAPI schema of a definition describes.
fn declared_struct(schema: &mut Schema, declared: &Value) -> Struct {
    let open = declared["x-kubernetes-preserve-unknown-fields"] == true;
    let atomic = declared["x-kubernetes-map-type"] == "atomic";
    let mut fields = BTreeMap::new();
    for (name, property) in declared["properties"].as_object().into_iter().flatten() {
        let ty = declared_type(schema, property);
        let default = property.get("default").cloned();
        fields.insert(name.clone(), Field { ty, always: false, merge: None, replace: false, default });
    }
    Struct { name: String::new(), atomic, open, fields }
}

fn declared_type(schema: &mut Schema, declared: &Value) -> Type {
    if declared["x-kubernetes-int-or-string"] == true {
        return Type::Either;
    }
    match declared["type"].as_str() {
        Some("string") => Type::Text,
        Some("integer" | "number") => Type::Number,
        Some("boolean") => Type::Boolean,
        Some("array") => {
            let items = Box::new(declared_type(schema, &declared["items"]));
            let relation = match declared["x-kubernetes-list-type"].as_str() {
                Some("set") => Relation::Set,
                Some("map") => {
                    let keys = declared["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
                    Relation::Keys(keys.filter_map(Value::as_str).map(str::to_owned).collect())
                }
                _ => Relation::Atomic,
            };
            Type::List { items, relation }
        }
        Some("object") if declared["additionalProperties"].is_object() => {
            let items = Box::new(declared_type(schema, &declared["additionalProperties"]));
            Type::Map { items, atomic: declared["x-kubernetes-map-type"] == "atomic" }
        }
        Some("object") if declared["properties"].is_object() || declared["x-kubernetes-map-type"] == "atomic" => {
            let made = declared_struct(schema, declared);
            schema.add(made)
        }
        _ => Type::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::resource::{ALL, DEPLOYMENTS};

    #[test]
    fn every_built_in_kind_has_a_struct() {
        for resource in ALL {
            let model = Model::of(resource, None);
            assert!(matches!(model.view().ty(), Type::Struct(_)), "{}", resource.kind);
            assert!(model.view().field("metadata").is_some(), "{}", resource.kind);
        }
    }

    #[test]
    fn fields_carry_their_marks() {
        let model = Model::of(&DEPLOYMENTS, None);
        let pod = model.view().child("spec").child("template").child("spec");
        let container = pod.child("containers").items();
        let ports = container.field("ports").unwrap();
        assert_eq!(ports.merge.as_deref(), Some("containerPort"));
        let Type::List { relation, .. } = &ports.ty else { panic!("{ports:?}") };
        assert_eq!(*relation, Relation::Keys(vec!["containerPort".into(), "protocol".into()]));
        let protocol = container.child("ports").items().field("protocol").unwrap();
        assert_eq!(protocol.default, Some(json!("TCP")));
        assert_eq!(pod.field("tolerations").unwrap().merge, None);
        assert!(matches!(pod.child("nodeSelector").atom(Some(&json!({"a": "b"}))), Atom::Leaf));
        assert!(matches!(model.view().child("spec").child("selector").atom(None), Atom::Leaf));
    }

    #[test]
    fn custom_kinds_are_read_from_their_definition() {
        let resource = Resource { custom: true, version: "v1", kind: "Widget", plural: "widgets", ..DEPLOYMENTS };
        let properties = json!({"spec": {"type": "object", "properties": {
            "size": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "rows": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                "items": {"type": "object", "properties": {"id": {"type": "string"}}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        }}});
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": properties}});
        let definition = json!({"spec": {"versions": [{"name": "v1", "schema": schema}]}});
        let model = Model::of(&resource, Some(&definition));
        let spec = model.view().child("spec");
        assert!(matches!(spec.child("tags").atom(None), Atom::List(Relation::Set, _)));
        assert!(matches!(spec.child("rows").atom(None), Atom::List(Relation::Keys(_), _)));
        assert!(matches!(spec.child("labels").atom(None), Atom::Map(_)));
        assert!(matches!(spec.child("free").child("x").atom(Some(&json!({}))), Atom::Map(_)));
        assert!(spec.refuses("color") && !spec.child("free").refuses("x") && !model.view().refuses("metadata"));
        assert!(matches!(model.view().child("metadata").child("finalizers").atom(None), Atom::List(..)));
        assert!(!Model::of(&resource, None).view().refuses("spec"));
    }

    #[test]
    fn an_empty_deployment_has_what_go_always_writes() {
        let empty = Model::of(&DEPLOYMENTS, None).view().empty();
        let template = json!({"metadata": {}, "spec": {"containers": null}});
        assert_eq!(
            empty,
            json!({"metadata": {}, "spec": {"strategy": {}, "template": template}, "status": {}}),
            "{empty}"
        );
    }
}
