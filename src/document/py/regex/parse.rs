//! Patterns by the rules of Python 3.11, and refused in its words.

use std::collections::{BTreeMap, BTreeSet};

use super::PatternError;
use super::class::{Category, Item, is_octal, literal, octal, set};
use super::flags::{Change, Flags};
use super::source::{Source, Token, invalid};
use super::width::{Width, width};

/// How deep groups may lie within each other.
const DEEPEST: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greed {
    Greedy,
    Lazy,
    Possessive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) behind: bool,
    pub(super) negated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Char { c: char, fold: bool },
    Any { newline: bool },
    Set { negated: bool, items: Vec<Item>, fold: bool },
    Start { multiline: bool },
    End { multiline: bool },
    VeryEnd,
    Boundary { negated: bool, ascii: bool },
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    Repeat { node: Box<Node>, least: u32, most: Option<u32>, greed: Greed },
    Group { number: Option<usize>, inner: Box<Node> },
    Atomic(Box<Node>),
    Look(Look, Box<Node>),
    Back { group: usize, fold: bool },
    If { group: usize, yes: Box<Node>, no: Option<Box<Node>> },
}

struct Parser {
    source: Source,
    names: BTreeMap<String, usize>,
    /// The widths of the groups that are closed, by number less one; `None` while one is open.
    groups: Vec<Option<Width>>,
    /// Groups that a condition asks for.
    asked: BTreeSet<usize>,
    /// How many groups there were before the outermost look behind that is open.
    behind: Option<usize>,
    /// Flags of the whole pattern.
    flags: Flags,
}

/// What an opening bracket turned out to begin.
enum Opened {
    Node(Node),
    /// A comment, or flags for the whole.
    Nothing,
    /// The whole is verbose: read it again.
    Verbose,
}

/// Why the reading stopped.
enum Stop {
    Error(PatternError),
    Verbose,
}

impl From<PatternError> for Stop {
    fn from(error: PatternError) -> Self {
        Self::Error(error)
    }
}

pub(super) fn parse(pattern: &str) -> Result<Node, PatternError> {
    match whole(pattern, false) {
        Err(Stop::Verbose) => match whole(pattern, true) {
            Err(Stop::Verbose) => invalid("global flags not at the start of the expression"),
            Err(Stop::Error(error)) => Err(error),
            Ok(node) => Ok(node),
        },
        Err(Stop::Error(error)) => Err(error),
        Ok(node) => Ok(node),
    }
}

fn whole(pattern: &str, verbose: bool) -> Result<Node, Stop> {
    let flags = Flags { verbose, ..Flags::default() };
    let source = Source::new(pattern)?;
    let mut parser =
        Parser { source, names: BTreeMap::new(), groups: Vec::new(), asked: BTreeSet::new(), behind: None, flags };
    let node = parser.alternatives(None, 0)?;
    if parser.source.next().is_some() {
        return Err(PatternError::Invalid("unbalanced parenthesis".into()).into());
    }
    if let Some(group) = parser.asked.iter().find(|group| **group > parser.groups.len()) {
        return Err(PatternError::Invalid(format!("invalid group reference {group}")).into());
    }
    Ok(node)
}

impl Parser {
    /// Branches up to a closing bracket. `flags` are those of the group around; `None` at the top, where the pattern's
    /// own may still change.
    fn alternatives(&mut self, flags: Option<Flags>, depth: usize) -> Result<Node, Stop> {
        if depth > DEEPEST {
            return Err(PatternError::Unsupported(format!("a pattern with groups more than {DEEPEST} deep")).into());
        }
        let mut branches = Vec::new();
        loop {
            let first = depth == 0 && branches.is_empty();
            branches.push(self.sequence(flags, depth, first)?);
            if !self.source.take('|') {
                break;
            }
        }
        Ok(if branches.len() == 1 { branches.remove(0) } else { Node::Either(branches) })
    }

    fn sequence(&mut self, flags: Option<Flags>, depth: usize, first: bool) -> Result<Node, Stop> {
        let mut nodes: Vec<Node> = Vec::new();
        while let Some(token) = self.source.peek() {
            let flags = flags.unwrap_or(self.flags);
            if matches!(token, Token::Plain('|' | ')')) {
                break;
            }
            let at = self.source.at();
            self.source.next();
            if flags.verbose {
                match token {
                    Token::Plain(' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}') => continue,
                    Token::Plain('#') => {
                        while !matches!(self.source.next(), None | Some(Token::Plain('\n'))) {}
                        continue;
                    }
                    _ => {}
                }
            }
            match token {
                Token::Escaped(c) => nodes.push(self.escape(c, flags)?),
                Token::Plain('[') => {
                    let (negated, items) = set(&mut self.source, flags.ascii)?;
                    nodes.push(Node::Set { negated, items, fold: flags.fold });
                }
                Token::Plain(c @ ('*' | '+' | '?' | '{')) => match self.bounds(c)? {
                    Some((least, most)) => self.repeat(&mut nodes, least, most)?,
                    None => {
                        self.source.go_to(at + 1);
                        nodes.push(Node::Char { c, fold: false });
                    }
                },
                Token::Plain('.') => nodes.push(Node::Any { newline: flags.newline }),
                Token::Plain('^') => nodes.push(Node::Start { multiline: flags.multiline }),
                Token::Plain('$') => nodes.push(Node::End { multiline: flags.multiline }),
                Token::Plain('(') => match self.opened(flags, depth, first && nodes.is_empty())? {
                    Opened::Node(node) => nodes.push(node),
                    Opened::Nothing => {}
                    Opened::Verbose => return Err(Stop::Verbose),
                },
                Token::Plain(c) => nodes.push(Node::Char { c, fold: flags.fold }),
            }
        }
        Ok(Node::Sequence(nodes))
    }

    /// The bounds of a repetition; `None` where a brace means itself.
    fn bounds(&mut self, c: char) -> Result<Option<(u32, Option<u32>)>, PatternError> {
        let source = &mut self.source;
        match c {
            '*' => return Ok(Some((0, None))),
            '+' => return Ok(Some((1, None))),
            '?' => return Ok(Some((0, Some(1)))),
            _ => {}
        }
        if source.peek() == Some(Token::Plain('}')) {
            return Ok(None);
        }
        let low = source.while_fits(usize::MAX, |c| c.is_ascii_digit());
        let comma = source.take(',');
        let high = if comma { source.while_fits(usize::MAX, |c| c.is_ascii_digit()) } else { low.clone() };
        if !source.take('}') {
            return Ok(None);
        }
        let number = |digits: &str| match digits.parse::<u32>() {
            Ok(it) if it < u32::MAX => Ok(it),
            _ => invalid("the repetition number is too large"),
        };
        let least = if low.is_empty() { 0 } else { number(&low)? };
        let most = if high.is_empty() { None } else { Some(number(&high)?) };
        if most.is_some_and(|most| most < least) {
            return invalid("min repeat greater than max repeat");
        }
        Ok(Some((least, most)))
    }

    fn repeat(&mut self, nodes: &mut Vec<Node>, least: u32, most: Option<u32>) -> Result<(), PatternError> {
        match nodes.last() {
            None | Some(Node::Start { .. } | Node::End { .. } | Node::VeryEnd | Node::Boundary { .. }) => {
                return invalid("nothing to repeat");
            }
            Some(Node::Repeat { .. }) => return invalid("multiple repeat"),
            Some(_) => {}
        }
        let greed = if self.source.take('?') {
            Greed::Lazy
        } else if self.source.take('+') {
            Greed::Possessive
        } else {
            Greed::Greedy
        };
        if let Some(node) = nodes.pop() {
            nodes.push(Node::Repeat { node: Box::new(node), least, most, greed });
        }
        Ok(())
    }

    fn escape(&mut self, c: char, flags: Flags) -> Result<Node, PatternError> {
        if let Some(category) = Category::of(c, flags.ascii) {
            return Ok(Node::Set { negated: false, items: vec![Item::Category(category)], fold: false });
        }
        let c = match c {
            'A' => return Ok(Node::Start { multiline: false }),
            'Z' => return Ok(Node::VeryEnd),
            'b' | 'B' => return Ok(Node::Boundary { negated: c == 'B', ascii: flags.ascii }),
            '0' => octal(format!("0{}", self.source.while_fits(2, is_octal)))?,
            '1'..='9' => match self.number(c)? {
                Ok(c) => c,
                Err(group) => return self.back(group, flags, &format!("invalid group reference {group}")),
            },
            _ => literal(&mut self.source, c)?,
        };
        Ok(Node::Char { c, fold: flags.fold })
    }

    /// Three octal digits are a character; anything else is the number of a group.
    fn number(&mut self, c: char) -> Result<Result<char, usize>, PatternError> {
        let mut digits = c.to_string();
        digits.push_str(&self.source.while_fits(1, |c| c.is_ascii_digit()));
        if digits.len() == 2 && digits.chars().all(is_octal) {
            let third = self.source.while_fits(1, is_octal);
            if !third.is_empty() {
                return octal(digits + &third).map(Ok);
            }
        }
        Ok(Err(digits.parse().unwrap_or(usize::MAX)))
    }

    fn back(&self, group: usize, flags: Flags, unknown: &str) -> Result<Node, PatternError> {
        match group.checked_sub(1).and_then(|index| self.groups.get(index)) {
            None => invalid(unknown),
            Some(None) => invalid("cannot refer to an open group"),
            Some(Some(_)) if self.behind.is_some_and(|before| group > before) => {
                invalid("cannot refer to group defined in the same lookbehind subpattern")
            }
            Some(Some(_)) => Ok(Node::Back { group, fold: flags.fold }),
        }
    }

    fn close(&mut self) -> Result<(), PatternError> {
        if self.source.take(')') { Ok(()) } else { invalid("missing ), unterminated subpattern") }
    }

    /// A group, after its opening bracket.
    fn opened(&mut self, flags: Flags, depth: usize, at_start: bool) -> Result<Opened, Stop> {
        if !self.source.take('?') {
            return self.captured(None, flags, depth);
        }
        let Some(kind) = self.source.next() else { return Ok(invalid("unexpected end of pattern")?) };
        let node = match kind {
            Token::Plain('P') => return self.named(flags, depth),
            Token::Plain(':') => Node::Group { number: None, inner: Box::new(self.inner(flags, depth)?) },
            Token::Plain('#') => loop {
                match self.source.next() {
                    None => return Ok(invalid("missing ), unterminated comment")?),
                    Some(Token::Plain(')')) => return Ok(Opened::Nothing),
                    Some(_) => {}
                }
            },
            Token::Plain('>') => Node::Atomic(Box::new(self.inner(flags, depth)?)),
            Token::Plain(c @ ('=' | '!')) => {
                Node::Look(Look { behind: false, negated: c == '!' }, Box::new(self.inner(flags, depth)?))
            }
            Token::Plain('<') => self.look_behind(flags, depth)?,
            Token::Plain('(') => self.condition(flags, depth)?,
            Token::Plain(c @ ('-' | 'i' | 'L' | 'm' | 's' | 'x' | 'a' | 'u')) => {
                let change = Change::read(&mut self.source, c)?;
                if !change.is_of_whole {
                    let mut flags = flags;
                    change.apply(&mut flags);
                    Node::Group { number: None, inner: Box::new(self.inner(flags, depth)?) }
                } else if at_start {
                    let verbose = self.flags.verbose;
                    change.apply(&mut self.flags);
                    return Ok(if self.flags.verbose && !verbose { Opened::Verbose } else { Opened::Nothing });
                } else {
                    return Ok(invalid("global flags not at the start of the expression")?);
                }
            }
            other => return Ok(invalid(format!("unknown extension ?{}", other.shown()))?),
        };
        Ok(Opened::Node(node))
    }

    fn inner(&mut self, flags: Flags, depth: usize) -> Result<Node, Stop> {
        let node = self.alternatives(Some(flags), depth + 1)?;
        self.close()?;
        Ok(node)
    }

    fn captured(&mut self, name: Option<String>, flags: Flags, depth: usize) -> Result<Opened, Stop> {
        self.groups.push(None);
        let number = self.groups.len();
        if let Some(name) = name {
            if let Some(before) = self.names.get(&name) {
                let why = format!("redefinition of group name '{name}' as group {number}; was group {before}");
                return Ok(invalid(why)?);
            }
            self.names.insert(name, number);
        }
        let inner = self.inner(flags, depth)?;
        let width = width(&inner, &self.groups);
        if let Some(group) = self.groups.get_mut(number - 1) {
            *group = Some(width);
        }
        Ok(Opened::Node(Node::Group { number: Some(number), inner: Box::new(inner) }))
    }

    fn named(&mut self, flags: Flags, depth: usize) -> Result<Opened, Stop> {
        if self.source.take('<') {
            let name = self.source.until('>', "group name")?;
            return self.captured(Some(identifier(name)?), flags, depth);
        }
        if self.source.take('=') {
            let name = identifier(self.source.until(')', "group name")?)?;
            let unknown = format!("unknown group name '{name}'");
            let group = self.names.get(&name).copied().unwrap_or(0);
            return Ok(Opened::Node(self.back(group, flags, &unknown)?));
        }
        Ok(match self.source.next() {
            None => invalid("unexpected end of pattern")?,
            Some(other) => invalid(format!("unknown extension ?P{}", other.shown()))?,
        })
    }

    fn look_behind(&mut self, flags: Flags, depth: usize) -> Result<Node, Stop> {
        let negated = match self.source.next() {
            Some(Token::Plain('=')) => false,
            Some(Token::Plain('!')) => true,
            None => return Ok(invalid("unexpected end of pattern")?),
            Some(other) => return Ok(invalid(format!("unknown extension ?<{}", other.shown()))?),
        };
        let outer = self.behind;
        self.behind = outer.or(Some(self.groups.len()));
        let inner = self.inner(flags, depth)?;
        self.behind = outer;
        let (least, most) = width(&inner, &self.groups);
        if least != most {
            return Ok(invalid("look-behind requires fixed-width pattern")?);
        }
        Ok(Node::Look(Look { behind: true, negated }, Box::new(inner)))
    }

    fn condition(&mut self, flags: Flags, depth: usize) -> Result<Node, Stop> {
        let name = self.source.until(')', "group name")?;
        let group = match self.names.get(&name) {
            Some(group) => *group,
            None => match name.parse::<usize>() {
                Ok(0) => return Ok(invalid("bad group number")?),
                Ok(group) if name.bytes().all(|c| c.is_ascii_digit()) => group,
                _ => {
                    let name = identifier(name)?;
                    return Ok(invalid(format!("unknown group name '{name}'"))?);
                }
            },
        };
        if self.behind.is_some() {
            // Python allows it of groups before the look behind; what comes of it is hardly meant.
            self.back(group, flags, &format!("invalid group reference {group}"))?;
        }
        self.asked.insert(group);
        let yes = self.sequence(Some(flags), depth + 1, false)?;
        let no = if self.source.take('|') { Some(self.sequence(Some(flags), depth + 1, false)?) } else { None };
        if self.source.peek() == Some(Token::Plain('|')) {
            return Ok(invalid("conditional backref with more than two branches")?);
        }
        self.close()?;
        Ok(Node::If { group, yes: Box::new(yes), no: no.map(Box::new) })
    }
}

fn identifier(name: String) -> Result<String, PatternError> {
    let fits = name.chars().enumerate().all(|(at, c)| c == '_' || c.is_alphabetic() || (at > 0 && c.is_alphanumeric()));
    if fits { Ok(name) } else { invalid(format!("bad character in group name '{name}'")) }
}
