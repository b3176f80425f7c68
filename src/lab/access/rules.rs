//! One rule of a role: what it allows, and whether others cover it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Attributes;

const ANY: &str = "*";

/// A rule, as roles hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::lab) struct Rule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    urls: Vec<String>,
}

impl Rule {
    /// The rules of a role's `rules`.
    pub(in crate::lab) fn all(rules: &Value) -> Vec<Self> {
        let texts = |value: &Value| {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        let one = |rule: &Value| Self {
            verbs: texts(&rule["verbs"]),
            groups: texts(&rule["apiGroups"]),
            resources: texts(&rule["resources"]),
            names: texts(&rule["resourceNames"]),
            urls: texts(&rule["nonResourceURLs"]),
        };
        rules.as_array().into_iter().flatten().map(one).collect()
    }

    /// Whether it is about resources, not about paths.
    pub(in crate::lab) fn of_resources(&self) -> bool {
        !self.resources.is_empty()
    }

    /// Whether it is about paths.
    pub(in crate::lab) fn of_paths(&self) -> bool {
        !self.urls.is_empty()
    }

    /// As a rules review shows it, without what is empty.
    pub(in crate::lab) fn as_resource_rule(&self) -> Value {
        named(&[
            ("verbs", &self.verbs),
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
        ])
    }

    /// The part of it about paths, as a rules review shows it.
    pub(in crate::lab) fn as_path_rule(&self) -> Value {
        named(&[("verbs", &self.verbs), ("nonResourceURLs", &self.urls)])
    }

    /// Whether it allows what is asked.
    pub(in crate::lab) fn allows(&self, asked: &Attributes) -> bool {
        if !has(&self.verbs, &asked.verb) {
            return false;
        }
        match &asked.path {
            Some(path) => self.urls.iter().any(|url| url_covers(url, path)),
            None => {
                let named = self.names.is_empty() || self.names.contains(&asked.name);
                named && has(&self.groups, &asked.group) && self.resource_matches(asked)
            }
        }
    }

    fn resource_matches(&self, asked: &Attributes) -> bool {
        let whole = asked.whole_resource();
        let of_any = |rule: &String| {
            !asked.subresource.is_empty() && rule.strip_prefix("*/").is_some_and(|sub| sub == asked.subresource)
        };
        self.resources.iter().any(|rule| rule == ANY || *rule == whole || of_any(rule))
    }

    /// Whether all that `other` allows, this allows.
    fn covers(&self, other: &Self) -> bool {
        let names = self.names.is_empty() || (!other.names.is_empty() && has_all(&self.names, &other.names));
        let resource = |wanted: &String| {
            self.resources.contains(wanted)
                || wanted.split_once('/').is_some_and(|(_, sub)| self.resources.contains(&format!("*/{sub}")))
        };
        let resources = self.resources.iter().any(|r| r == ANY) || other.resources.iter().all(resource);
        let urls = other.urls.iter().all(|wanted| self.urls.iter().any(|url| url_covers(url, wanted)));
        let any_or_all = |own: &[String], wanted: &[String]| own.iter().any(|o| o == ANY) || has_all(own, wanted);
        any_or_all(&self.verbs, &other.verbs) && any_or_all(&self.groups, &other.groups) && resources && names && urls
    }

    /// Rules of one verb on one thing each.
    fn broken_down(&self) -> Vec<Self> {
        let mut single = Vec::new();
        let one = |value: &String| vec![value.clone()];
        for group in &self.groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let rule =
                        Self { verbs: one(verb), groups: one(group), resources: one(resource), ..Self::default() };
                    if self.names.is_empty() {
                        single.push(rule);
                    } else {
                        single.extend(self.names.iter().map(|name| Self { names: one(name), ..rule.clone() }));
                    }
                }
            }
        }
        for url in &self.urls {
            single.extend(self.verbs.iter().map(|verb| Self { verbs: one(verb), urls: one(url), ..Self::default() }));
        }
        single
    }

    /// `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`.
    fn compact(&self) -> String {
        let lists = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.urls),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ];
        let shown = lists.iter().filter(|(_, list)| !list.is_empty());
        let parts: Vec<String> = shown.map(|(name, list)| format!("{name}:{}", quoted(list))).collect();
        format!("{{{}}}", parts.join(", "))
    }
}

/// The rules of `wanted` that `owned` does not cover, one line each and sorted; none if it covers all.
pub(super) fn missing(owned: &[Rule], wanted: &[Rule]) -> Vec<String> {
    let single = wanted.iter().flat_map(Rule::broken_down);
    let lacking = single.filter(|rule| !owned.iter().any(|own| own.covers(rule)));
    let mut merged: BTreeMap<Rule, Vec<String>> = BTreeMap::new();
    let mut lines = Vec::new();
    for rule in lacking {
        if rule.of_paths() {
            lines.push(rule.compact());
        } else {
            let verbs = rule.verbs.clone();
            merged.entry(Rule { verbs: Vec::new(), ..rule }).or_default().extend(verbs);
        }
    }
    lines.extend(merged.into_iter().map(|(rule, verbs)| Rule { verbs, ..rule }.compact()));
    lines.sort();
    lines.dedup();
    lines
}

/// `["a" "b"]`, as Go prints a list of strings.
pub(super) fn quoted(list: &[String]) -> String {
    let quoted: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

fn named(lists: &[(&str, &Vec<String>)]) -> Value {
    let present = lists.iter().filter(|(_, list)| !list.is_empty());
    Value::Object(present.map(|(name, list)| ((*name).to_owned(), json!(list))).collect::<Map<_, _>>())
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == ANY || item == wanted)
}

fn has_all(list: &[String], wanted: &[String]) -> bool {
    wanted.iter().all(|item| list.contains(item))
}

fn url_covers(own: &str, wanted: &str) -> bool {
    own == wanted || (own.ends_with(ANY) && wanted.starts_with(own.trim_end_matches('*')))
}
