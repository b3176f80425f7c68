//! What a path finds.

use std::borrow::Cow;

use serde_json::Value;

use super::super::ordered::{Order, Ordered};
use super::function::{Function, whole};
use super::parse::{Comparison, Expression, Inner, Operand, Step, Subscript};
use crate::document::py;

/// How many nodes a path may touch, those of its filters among them.
const MOST_STEPS: usize = 2_000_000;

/// How many values a path may find.
const MOST_FOUND: usize = 100_000;

/// A value within the document, or one that a function made.
#[derive(Clone)]
struct Node<'a> {
    value: Cow<'a, Value>,
    order: Option<Cow<'a, Order>>,
}

/// A part of what is borrowed or owned, likewise.
fn part<'a, T: Clone>(whole: &Cow<'a, T>, pick: impl Fn(&T) -> Option<&T>) -> Option<Cow<'a, T>> {
    match whole {
        Cow::Borrowed(whole) => pick(whole).map(Cow::Borrowed),
        Cow::Owned(whole) => pick(whole).cloned().map(Cow::Owned),
    }
}

impl<'a> Node<'a> {
    fn named(&self, name: &str) -> Option<Node<'a>> {
        let value = part(&self.value, |value| value.as_object()?.get(name))?;
        let order = |order: &Cow<'a, Order>| {
            part(order, |order| match order {
                Order::Members(members) => members.iter().find(|(it, _)| it == name).map(|(_, order)| order),
                _ => None,
            })
        };
        Some(Node { value, order: self.order.as_ref().and_then(order) })
    }

    fn item(&self, at: usize) -> Option<Node<'a>> {
        let value = part(&self.value, |value| value.as_array()?.get(at))?;
        let order = |order: &Cow<'a, Order>| {
            part(order, |order| if let Order::Items(items) = order { items.get(at) } else { None })
        };
        Some(Node { value, order: self.order.as_ref().and_then(order) })
    }

    /// The names of an object's members, in their order.
    fn names(&self) -> Vec<&str> {
        match (self.order.as_deref(), self.value.as_object()) {
            (_, None) => Vec::new(),
            (Some(Order::Members(members)), _) => members.iter().map(|(name, _)| name.as_str()).collect(),
            (_, Some(object)) => object.keys().map(String::as_str).collect(),
        }
    }

    fn children(&self) -> Vec<Node<'a>> {
        if let Value::Array(items) = &*self.value {
            return (0..items.len()).filter_map(|at| self.item(at)).collect();
        }
        if let (Cow::Borrowed(value), Some(Cow::Borrowed(Order::Members(members)))) = (&self.value, &self.order) {
            // As below, without a search for each name.
            let child = |(name, order): &'a (String, Order)| {
                let value = Cow::Borrowed(value.as_object()?.get(name)?);
                Some(Node { value, order: Some(Cow::Borrowed(order)) })
            };
            return members.iter().filter_map(child).collect();
        }
        self.names().into_iter().filter_map(|name| self.named(name)).collect()
    }

    /// What a function made of this node, which keeps the order of what it holds.
    fn made(&self, function: Function, value: Value) -> Node<'a> {
        let orders = || self.children().into_iter().map(|child| child.order.map(Cow::into_owned).unwrap_or_default());
        let order = match function {
            Function::Values => Some(Order::Items(orders().collect())),
            Function::Entries => {
                Some(Order::Items(orders().map(|order| Order::Items(vec![Order::Plain, order])).collect()))
            }
            _ => None,
        };
        Node { value: Cow::Owned(value), order: order.map(Cow::Owned) }
    }
}

pub(super) fn find(steps: &[Step], document: &Ordered) -> Result<Vec<Value>, String> {
    let root = Node { value: Cow::Borrowed(&document.value), order: Some(Cow::Borrowed(&document.order)) };
    let mut search = Search { root: root.clone(), left: MOST_STEPS };
    let found = search.steps(steps, root)?;
    if found.len() > MOST_FOUND {
        return Err(format!("the path finds {} values, more than {MOST_FOUND}", found.len()));
    }
    for node in &found {
        search.spend(size(&node.value))?;
    }
    Ok(found.into_iter().map(|node| node.value.into_owned()).collect())
}

/// How much there is to copy of a value.
fn size(value: &Value) -> usize {
    let mut open = vec![value];
    let mut size = 0;
    while let Some(value) = open.pop() {
        size += 1;
        match value {
            Value::String(text) => size += text.len() / 64,
            Value::Array(items) => open.extend(items),
            Value::Object(members) => {
                size += members.keys().map(|name| name.len() / 64).sum::<usize>();
                open.extend(members.values());
            }
            _ => {}
        }
    }
    size
}

struct Search<'a> {
    root: Node<'a>,
    left: usize,
}

impl<'a> Search<'a> {
    fn spend(&mut self, steps: usize) -> Result<(), String> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(format!("the path takes more than {MOST_STEPS} steps in this value")),
        }
    }

    /// Step by step, all nodes of one before the next: that is the order of a depth-first search too.
    fn steps(&mut self, steps: &[Step], from: Node<'a>) -> Result<Vec<Node<'a>>, String> {
        let mut nodes = vec![from];
        for Step { descend, subscripts } in steps {
            let mut found = Vec::new();
            for node in nodes {
                let below = if *descend { self.below(node)? } else { vec![node] };
                for node in &below {
                    for subscript in subscripts {
                        self.subscript(subscript, node, &mut found)?;
                    }
                }
            }
            nodes = found;
        }
        Ok(nodes)
    }

    /// A node and all below it, each before its children.
    fn below(&mut self, node: Node<'a>) -> Result<Vec<Node<'a>>, String> {
        let (mut open, mut all) = (vec![node], Vec::new());
        while let Some(node) = open.pop() {
            self.spend(1)?;
            self.copied(&node)?;
            let mut children = node.children();
            children.reverse();
            open.append(&mut children);
            all.push(node);
        }
        Ok(all)
    }

    /// The children of a value that a function made are copies.
    fn copied(&mut self, node: &Node<'a>) -> Result<(), String> {
        if let Cow::Owned(value) = &node.value { self.spend(size(value)) } else { Ok(()) }
    }

    fn subscript(&mut self, subscript: &Subscript, node: &Node<'a>, found: &mut Vec<Node<'a>>) -> Result<(), String> {
        self.spend(1)?;
        self.copied(node)?;
        match subscript {
            Subscript::Name(name) => found.extend(node.named(name)),
            Subscript::Index(index) => found.extend(at(node, *index)),
            Subscript::Slice { start, end, step } => {
                if let Value::Array(items) = &*node.value {
                    let picked = slice(items.len(), *start, *end, *step)?;
                    self.spend(picked.len())?;
                    found.extend(picked.into_iter().filter_map(|index| at(node, index)));
                }
            }
            Subscript::All => {
                let children = node.children();
                self.spend(children.len())?;
                found.extend(children);
            }
            Subscript::Filter(expression) => {
                if self.holds(expression, node)? {
                    found.push(node.clone());
                }
            }
            Subscript::Of(inner) => {
                for key in self.inner(inner, node)? {
                    self.spend(1)?;
                    match &*key.value {
                        Value::String(name) => found.extend(node.named(name)),
                        other => found.extend(whole(other).and_then(|index| at(node, index))),
                    }
                }
            }
            Subscript::Call(function, operands) => {
                let mut arguments = Vec::new();
                for operand in operands {
                    arguments.push(self.values(operand, node)?);
                }
                // Every combination of what the arguments find.
                let combinations = arguments.iter().try_fold(1_usize, |all, it| all.checked_mul(it.len()));
                let combinations = combinations.unwrap_or(usize::MAX);
                self.spend(combinations)?;
                for combination in 0..combinations {
                    let mut rest = combination;
                    let mut picked: Vec<&Value> = Vec::new();
                    for values in arguments.iter().rev() {
                        picked.extend(values.get(rest % values.len()).map(|node| &*node.value));
                        rest /= values.len();
                    }
                    picked.reverse();
                    if *function == Function::Values && node.value.is_array() && picked.is_empty() {
                        found.push(node.clone());
                    } else if let Some(made) = function.apply(&node.value, &node.names(), &picked) {
                        self.spend(size(&made))?;
                        found.push(node.made(*function, made));
                    }
                }
            }
        }
        Ok(())
    }

    fn inner(&mut self, inner: &Inner, node: &Node<'a>) -> Result<Vec<Node<'a>>, String> {
        let from = if inner.from_root { self.root.clone() } else { node.clone() };
        self.steps(&inner.steps, from)
    }

    fn values(&mut self, operand: &Operand, node: &Node<'a>) -> Result<Vec<Node<'a>>, String> {
        match operand {
            Operand::Path(inner) => self.inner(inner, node),
            Operand::Literal(value) => {
                self.spend(size(value))?;
                Ok(vec![Node { value: Cow::Owned(value.clone()), order: None }])
            }
        }
    }

    fn holds(&mut self, expression: &Expression, node: &Node<'a>) -> Result<bool, String> {
        match expression {
            Expression::Some(Operand::Path(inner)) => Ok(!self.inner(inner, node)?.is_empty()),
            Expression::Some(Operand::Literal(value)) => Ok(py::truthy(value)),
            Expression::Not(inner) => Ok(!self.holds(inner, node)?),
            Expression::And(all) => {
                for expression in all {
                    if !self.holds(expression, node)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Expression::Or(any) => {
                for expression in any {
                    if self.holds(expression, node)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Expression::Compare(left, comparison, right) => {
                let (left, right_values) = (self.values(left, node)?, self.values(right, node)?);
                // jsonpath2 walks through what a path on the right finds once only: for the first value on the left.
                let tried = if matches!(right, Operand::Path(_)) { 1 } else { left.len() };
                for a in left.iter().take(tried) {
                    for b in &right_values {
                        self.spend(1 + size(&a.value).min(size(&b.value)))?;
                        if compare(&a.value, *comparison, &b.value) {
                            return Ok(true);
                        }
                    }
                }
                Ok(false)
            }
        }
    }
}

/// Order is among numbers only; a boolean is one.
fn compare(a: &Value, comparison: Comparison, b: &Value) -> bool {
    let ordered = |fits: fn(std::cmp::Ordering) -> bool| {
        let number = |value: &Value| value.is_number() || value.is_boolean();
        number(a) && number(b) && py::compare(a, b).is_ok_and(fits)
    };
    match comparison {
        Comparison::Equal => py::equal(a, b),
        Comparison::NotEqual => !py::equal(a, b),
        Comparison::Less => ordered(std::cmp::Ordering::is_lt),
        Comparison::LessOrEqual => ordered(std::cmp::Ordering::is_le),
        Comparison::Greater => ordered(std::cmp::Ordering::is_gt),
        Comparison::GreaterOrEqual => ordered(std::cmp::Ordering::is_ge),
    }
}

/// An item; a negative index counts from the end.
fn at<'a>(node: &Node<'a>, index: i64) -> Option<Node<'a>> {
    let length = i64::try_from(node.value.as_array()?.len()).ok()?;
    let index = if index < 0 { index.checked_add(length)? } else { index };
    node.item(usize::try_from(index).ok()?)
}

/// The indices of a slice, as jsonpath2 counts them: unlike in Python a step below 0 has no bounds of its own, and what
/// runs below 0 goes on at the end.
fn slice(length: usize, start: Option<i64>, end: Option<i64>, step: Option<i64>) -> Result<Vec<i64>, String> {
    let length = i128::try_from(length).unwrap_or(i128::MAX);
    let from = i128::from(start.unwrap_or(0));
    let from = match from {
        ..0 if from.abs() < length => from + length,
        ..0 => 0,
        _ => from,
    };
    let to = end.map_or(length, |end| if end < 0 { i128::from(end) + length } else { end.into() });
    let step = i128::from(step.unwrap_or(1));
    // Only these are of items.
    let (first, last) = match step {
        0 => return Err("a slice whose step is 0".to_owned()),
        1.. => {
            let skipped = if from < -length { (-length - from + step - 1) / step } else { 0 };
            (from + skipped * step, to.min(length))
        }
        _ => {
            let skipped = if from >= length { (from - length) / -step + 1 } else { 0 };
            (from + skipped * step, to.max(-length - 1))
        }
    };
    let mut indices = Vec::new();
    let mut index = first;
    while if step > 0 { index < last } else { index > last } {
        indices.extend(i64::try_from(index));
        index += step;
    }
    Ok(indices)
}
