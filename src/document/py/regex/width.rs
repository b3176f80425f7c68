//! How many characters a part of a pattern takes.

use super::parse::Node;

/// A width that is not bounded, and the most that is told apart.
const UNBOUNDED: u64 = 1 << 32;

/// The least and the most.
pub(super) type Width = (u64, u64);

/// The least and the most characters that a node takes.
pub(super) fn width(node: &Node, groups: &[Option<Width>]) -> Width {
    let cap = |(least, most): (u64, u64)| (least.min(UNBOUNDED - 1), most.min(UNBOUNDED));
    match node {
        Node::Char { .. } | Node::Any { .. } | Node::Set { .. } => (1, 1),
        Node::Start { .. } | Node::End { .. } | Node::VeryEnd | Node::Boundary { .. } | Node::Look(..) => (0, 0),
        Node::Sequence(nodes) => cap(nodes
            .iter()
            .map(|node| width(node, groups))
            .fold((0, 0), |(least, most), (a, b)| cap((least + a, most + b)))),
        Node::Either(branches) => {
            let widths = || branches.iter().map(|branch| width(branch, groups));
            (widths().map(|it| it.0).min().unwrap_or(0), widths().map(|it| it.1).max().unwrap_or(0))
        }
        Node::Repeat { node, least, most, .. } => {
            let (low, high) = width(node, groups);
            let times = most.map_or(UNBOUNDED, u64::from);
            cap((low.saturating_mul(u64::from(*least)), high.saturating_mul(times)))
        }
        Node::Group { inner, .. } | Node::Atomic(inner) => width(inner, groups),
        Node::Back { group, .. } => {
            let known = group.checked_sub(1).and_then(|index| groups.get(index)).copied().flatten();
            known.unwrap_or((0, UNBOUNDED))
        }
        Node::If { yes, no, .. } => {
            let (yes, no) = (width(yes, groups), no.as_ref().map_or((0, 0), |no| width(no, groups)));
            (yes.0.min(no.0), yes.1.max(no.1))
        }
    }
}
