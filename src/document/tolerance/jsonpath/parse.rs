//! The grammar of paths.

use serde_json::{Map, Number, Value};

use super::PathError;
use super::function::Function;
use super::lex::{Placed, Word, lex};

/// How deep filters, subscripts and literals may lie within each other.
const DEEPEST: usize = 50;

/// The longest path, in bytes.
const LONGEST: usize = 65_536;

/// One step of a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// `..`: from every node below too.
    pub(super) descend: bool,
    pub(super) subscripts: Vec<Subscript>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Subscript {
    Name(String),
    Index(i64),
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: Option<i64>,
    },
    All,
    Filter(Expression),
    /// What a path finds is the name or the index.
    Of(Inner),
    Call(Function, Vec<Operand>),
}

/// A path within a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Inner {
    /// `$`, and not `@`.
    pub(super) from_root: bool,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Path(Inner),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// A path finds something, or a literal is true.
    Some(Operand),
    Compare(Operand, Comparison, Operand),
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
}

pub(super) fn parse(path: &str) -> Result<Vec<Step>, PathError> {
    if path.len() > LONGEST {
        return Err(PathError { column: 1, why: format!("it has more than {LONGEST} bytes") });
    }
    let mut parser = Parser { words: lex(path)?, at: 0, depth: 0 };
    if !parser.take("$") {
        return parser.fail("a path begins with $");
    }
    let steps = parser.steps()?;
    if *parser.peek() != Word::End {
        return parser.fail("the path should end here");
    }
    Ok(steps)
}

struct Parser {
    words: Vec<Placed>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Word {
        self.words.get(self.at).map_or(&Word::End, |placed| &placed.word)
    }

    fn next(&mut self) -> Word {
        let word = self.peek().clone();
        self.at += 1;
        word
    }

    fn fail<T>(&self, why: impl Into<String>) -> Result<T, PathError> {
        let column = self.words.get(self.at).or(self.words.last()).map_or(1, |placed| placed.column);
        Err(PathError { column, why: why.into() })
    }

    fn take(&mut self, sign: &str) -> bool {
        let is_next = matches!(self.peek(), Word::Sign(it) if *it == sign);
        self.at += usize::from(is_next);
        is_next
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_next = matches!(self.peek(), Word::Name(it) if it == word);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, sign: &str) -> Result<(), PathError> {
        if self.take(sign) { Ok(()) } else { self.fail(format!("{sign} is missing")) }
    }

    /// One level deeper.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, PathError>) -> Result<T, PathError> {
        if self.depth >= DEEPEST {
            return self.fail(format!("it is nested more than {DEEPEST} deep"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn steps(&mut self) -> Result<Vec<Step>, PathError> {
        let mut steps = Vec::new();
        loop {
            let descend = self.take("..");
            let bracket = matches!(self.peek(), Word::Sign("["));
            let subscripts = if bracket {
                self.brackets()?
            } else if descend || self.take(".") {
                vec![self.bare()?]
            } else {
                return Ok(steps);
            };
            steps.push(Step { descend, subscripts });
        }
    }

    /// After a point: a name, a call, or a star.
    fn bare(&mut self) -> Result<Subscript, PathError> {
        if self.take("*") {
            return Ok(Subscript::All);
        }
        let (name, at) = match self.peek() {
            Word::Name(name) if !is_reserved(name) => (name.clone(), self.at),
            Word::Name(name) => return self.fail(format!("{name} is reserved; write [\"{name}\"]")),
            _ => return self.fail("a name or * is missing"),
        };
        self.at += 1;
        if self.take("(") { self.call(&name, at) } else { Ok(Subscript::Name(name)) }
    }

    /// A call after its opening bracket.
    fn call(&mut self, name: &str, at: usize) -> Result<Subscript, PathError> {
        let Some(function) = Function::named(name) else {
            self.at = at;
            return self.fail(format!("there is no function {name}; there are {}", Function::names()));
        };
        let mut arguments = Vec::new();
        if !self.take(")") {
            loop {
                arguments.push(self.nested(Self::operand)?);
                if !self.take(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        Ok(Subscript::Call(function, arguments))
    }

    fn brackets(&mut self) -> Result<Vec<Subscript>, PathError> {
        self.expect("[")?;
        let mut subscripts = Vec::new();
        loop {
            subscripts.push(self.nested(Self::subscript)?);
            if !self.take(",") {
                break;
            }
        }
        self.expect("]")?;
        Ok(subscripts)
    }

    fn subscript(&mut self) -> Result<Subscript, PathError> {
        match self.peek().clone() {
            Word::Quoted(name) => {
                self.at += 1;
                Ok(Subscript::Name(name))
            }
            Word::Number(_) => {
                let index = self.whole()?;
                if matches!(self.peek(), Word::Sign(":")) {
                    self.slice(Some(index))
                } else {
                    Ok(Subscript::Index(index))
                }
            }
            Word::Sign(":") => self.slice(None),
            Word::Sign("*") => {
                self.at += 1;
                Ok(Subscript::All)
            }
            Word::Sign("?") => {
                self.at += 1;
                self.expect("(")?;
                let expression = self.expression()?;
                self.expect(")")?;
                Ok(Subscript::Filter(expression))
            }
            Word::Sign("$" | "@") => self.inner().map(Subscript::Of),
            Word::Name(name) if !is_reserved(&name) => {
                let at = self.at;
                self.at += 1;
                if self.take("(") {
                    self.call(&name, at)
                } else {
                    self.fail(format!("a name in brackets is quoted: [\"{name}\"]"))
                }
            }
            _ => self.fail("a quoted name, an index, a slice, *, ?(…), a path or a function is missing"),
        }
    }

    /// From the first colon on.
    fn slice(&mut self, start: Option<i64>) -> Result<Subscript, PathError> {
        self.expect(":")?;
        let end = self.bound()?;
        let step = if self.take(":") { self.bound()? } else { None };
        Ok(Subscript::Slice { start, end, step })
    }

    fn bound(&mut self) -> Result<Option<i64>, PathError> {
        if matches!(self.peek(), Word::Number(_)) { self.whole().map(Some) } else { Ok(None) }
    }

    /// A whole number; no list is as long as one that is too large.
    fn whole(&mut self) -> Result<i64, PathError> {
        let Word::Number(text) = self.peek().clone() else { return self.fail("a whole number is missing") };
        if text.contains(['.', 'e', 'E']) {
            return self.fail(format!("{text} is no whole number"));
        }
        self.at += 1;
        Ok(text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX }))
    }

    fn inner(&mut self) -> Result<Inner, PathError> {
        let from_root = self.take("$");
        if !from_root {
            self.expect("@")?;
        }
        let steps = self.nested(Self::steps)?;
        Ok(Inner { from_root, steps })
    }

    /// `and` binds less than `or`.
    fn expression(&mut self) -> Result<Expression, PathError> {
        self.chain("and", |parser| parser.chain("or", Self::negation, Expression::Or), Expression::And)
    }

    fn chain(
        &mut self,
        word: &str,
        operand: impl Fn(&mut Self) -> Result<Expression, PathError>,
        join: impl FnOnce(Vec<Expression>) -> Expression,
    ) -> Result<Expression, PathError> {
        let first = operand(self)?;
        if !matches!(self.peek(), Word::Name(it) if it == word) {
            return Ok(first);
        }
        let mut operands = vec![first];
        while self.take_word(word) {
            operands.push(operand(self)?);
        }
        Ok(join(operands))
    }

    fn negation(&mut self) -> Result<Expression, PathError> {
        if self.take_word("not") {
            return self.nested(Self::negation).map(|inner| Expression::Not(Box::new(inner)));
        }
        if self.take("(") {
            let inner = self.nested(Self::expression)?;
            self.expect(")")?;
            return Ok(inner);
        }
        let left = self.operand()?;
        let comparison = match self.peek() {
            Word::Sign("=") => Comparison::Equal,
            Word::Sign("!=") => Comparison::NotEqual,
            Word::Sign("<") => Comparison::Less,
            Word::Sign("<=") => Comparison::LessOrEqual,
            Word::Sign(">") => Comparison::Greater,
            Word::Sign(">=") => Comparison::GreaterOrEqual,
            _ => return Ok(Expression::Some(left)),
        };
        self.at += 1;
        if matches!(self.peek(), Word::Sign("=")) {
            return self.fail("equality is written with one =");
        }
        Ok(Expression::Compare(left, comparison, self.operand()?))
    }

    fn operand(&mut self) -> Result<Operand, PathError> {
        if matches!(self.peek(), Word::Sign("$" | "@")) {
            self.inner().map(Operand::Path)
        } else {
            self.literal().map(Operand::Literal)
        }
    }

    fn literal(&mut self) -> Result<Value, PathError> {
        let at = self.at;
        match self.next() {
            Word::Quoted(text) => Ok(Value::String(text)),
            Word::Number(text) => match number(&text) {
                Some(number) => Ok(Value::Number(number)),
                None => {
                    self.at = at;
                    self.fail(format!("{text} is too large"))
                }
            },
            Word::Name(name) if name == "true" => Ok(Value::Bool(true)),
            Word::Name(name) if name == "false" => Ok(Value::Bool(false)),
            Word::Name(name) if name == "null" => Ok(Value::Null),
            Word::Sign("[") => {
                let mut items = Vec::new();
                if !self.take("]") {
                    loop {
                        items.push(self.nested(Self::literal)?);
                        if !self.take(",") {
                            break;
                        }
                    }
                    self.expect("]")?;
                }
                Ok(Value::Array(items))
            }
            Word::Sign("{") => {
                let mut members = Map::new();
                if !self.take("}") {
                    loop {
                        let Word::Quoted(name) = self.peek().clone() else {
                            return self.fail("a quoted name is missing");
                        };
                        self.at += 1;
                        self.expect(":")?;
                        members.insert(name, self.nested(Self::literal)?);
                        if !self.take(",") {
                            break;
                        }
                    }
                    self.expect("}")?;
                }
                Ok(Value::Object(members))
            }
            _ => {
                self.at = at;
                self.fail("a path that begins with @ or $, or a value of JSON is missing")
            }
        }
    }
}

fn is_reserved(name: &str) -> bool {
    matches!(name, "and" | "or" | "not" | "true" | "false" | "null")
}

fn number(text: &str) -> Option<Number> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    if let Ok(whole) = text.parse::<u64>() {
        return Some(whole.into());
    }
    Number::from_f64(text.parse().ok()?)
}
