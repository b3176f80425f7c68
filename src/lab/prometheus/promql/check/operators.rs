//! Operators, and what stands between them.

use super::super::functions::Type;
use super::super::lex::{Kind, Token, quoted};
use super::{Checked, Checker, Complaint, DEEPEST, Form};

/// How strongly an operator binds.
fn power(token: &Token) -> Option<u8> {
    Some(match token.text.to_ascii_lowercase().as_str() {
        "or" if token.kind == Kind::WordOperator => 1,
        "and" | "unless" if token.kind == Kind::WordOperator => 2,
        "==" | "!=" | "<" | "<=" | ">" | ">=" if token.kind == Kind::Punctuation => 3,
        "+" | "-" if token.kind == Kind::Punctuation => 4,
        "*" | "/" | "%" if token.kind == Kind::Punctuation => 5,
        "atan2" if token.kind == Kind::WordOperator => 5,
        "^" if token.kind == Kind::Punctuation => 6,
        _ => return None,
    })
}

impl Checker<'_> {
    pub(super) fn expression(&mut self, weakest: u8) -> Result<Checked, Complaint> {
        self.level += 1;
        if self.level > DEEPEST {
            self.too_deep = true;
            return Err((self.token.at, String::new()));
        }
        let checked = self.operands(weakest);
        self.level -= 1;
        let checked = checked?;
        if checked.depth > DEEPEST {
            self.too_deep = true;
        }
        Ok(checked)
    }

    fn operands(&mut self, weakest: u8) -> Result<Checked, Complaint> {
        let mut left = if self.token.is("+") || self.token.is("-") {
            let at = self.advance().at;
            // A sign binds as multiplication does: weaker than a power only.
            let inner = self.expression(6)?;
            if !matches!(inner.of, Type::Scalar | Type::Vector) {
                let got = quoted(inner.of.documented());
                let why = "unary expression only allowed on expressions of type scalar or instant vector";
                self.ill_typed(at, format!("{why}, got {got}"));
            }
            Checked { at, of: inner.of, form: Form::Other, depth: inner.depth + 1 }
        } else {
            self.with_suffixes()?
        };
        while let Some(power) = power(&self.token).filter(|power| *power >= weakest) {
            let operator = self.advance();
            left = self.binary(left, &operator, power)?;
        }
        Ok(left)
    }

    fn binary(&mut self, left: Checked, operator: &Token, power: u8) -> Result<Checked, Complaint> {
        let name = operator.text.to_ascii_lowercase();
        let boolean = self.token.is_word("bool");
        if boolean {
            self.advance();
        }
        let (mut on, mut matching, mut include, mut grouped) = (false, None, Vec::new(), false);
        if self.token.is_word("on") || self.token.is_word("ignoring") {
            on = self.advance().text.eq_ignore_ascii_case("on");
            matching = Some(self.grouping_labels()?);
            if self.token.is_word("group_left") || self.token.is_word("group_right") {
                grouped = true;
                self.advance();
                if self.token.is("(") {
                    include = self.grouping_labels()?;
                }
            }
        }
        // A power groups to the right, all others to the left.
        let right = self.expression(if power == 6 { 6 } else { power + 1 })?;
        let comparison = power == 3;
        let set = power <= 2;
        if boolean && !comparison {
            self.ill_typed(operator.at, "bool modifier can only be used on comparison operators");
        }
        let scalars = left.of == Type::Scalar && right.of == Type::Scalar;
        if comparison && !boolean && scalars {
            self.ill_typed(operator.at, "comparisons between scalars must use BOOL modifier");
        }
        if on && let Some(twice) = matching.iter().flatten().find(|label| include.contains(label)) {
            let why = format!("label {} must not occur in ON and GROUP clause at once", quoted(twice));
            self.ill_typed(operator.at, why);
        }
        for side in [left, right] {
            if !matches!(side.of, Type::Scalar | Type::Vector) {
                self.ill_typed(side.at, "binary expression must contain only scalar and instant vector types");
            }
        }
        if left.of != Type::Vector || right.of != Type::Vector {
            if matching.is_some_and(|labels| !labels.is_empty()) {
                self.ill_typed(left.at, "vector matching only allowed between instant vectors");
            }
        } else if set && grouped {
            self.ill_typed(left.at, format!("no grouping allowed for {} operation", quoted(&name)));
        }
        if set && (left.of == Type::Scalar || right.of == Type::Scalar) {
            let why = format!("set operator {} not allowed in binary scalar expression", quoted(&name));
            self.ill_typed(left.at, why);
        }
        let of = if scalars { Type::Scalar } else { Type::Vector };
        Ok(Checked { at: left.at, of, form: Form::Other, depth: left.depth.max(right.depth) + 1 })
    }

    pub(super) fn primary(&mut self) -> Result<Checked, Complaint> {
        let at = self.token.at;
        let leaf = |of| Checked { at, of, form: Form::Other, depth: 1 };
        match self.token.kind {
            Kind::Number => {
                let token = self.advance();
                self.number(&token);
                Ok(leaf(Type::Scalar))
            }
            Kind::String => {
                self.string();
                Ok(leaf(Type::String))
            }
            Kind::Punctuation if self.token.text == "(" => {
                self.advance();
                let inner = self.expression(0)?;
                if !self.token.is(")") {
                    return self.unexpected("", "");
                }
                self.advance();
                Ok(Checked { at, of: inner.of, form: Form::Other, depth: inner.depth + 1 })
            }
            Kind::Punctuation if self.token.text == "{" => self.vector_selector(false),
            _ if self.is_metric_name() => self.vector_selector(false),
            _ => self.unexpected("", ""),
        }
    }
}
