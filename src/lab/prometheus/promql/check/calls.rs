//! Calls of functions, and aggregations.

use super::super::functions::{Arity, Type, is_of_later_version, signature};
use super::super::lex::{Token, quoted};
use super::{Checked, Checker, Complaint, Form};
use crate::lab::prometheus::labels::{is_label_name, is_metric_name};

impl Checker<'_> {
    pub(super) fn grouping_labels(&mut self) -> Result<Vec<String>, Complaint> {
        if !self.token.is("(") {
            return self.unexpected("grouping opts", "\"(\"");
        }
        self.advance();
        let mut labels = Vec::new();
        while !self.token.is(")") {
            if !self.token.text.is_ascii() || !is_metric_name(&self.token.text) {
                return self.unexpected("grouping opts", "label");
            }
            let label = self.advance();
            if !is_label_name(&label.text) {
                // With a colon in it.
                self.token = label;
                return self.unexpected("grouping opts", "label");
            }
            labels.push(label.text);
            if self.token.is(",") {
                self.advance();
            } else if !self.token.is(")") {
                return self.unexpected("grouping opts", "\",\" or \")\"");
            }
        }
        self.advance();
        Ok(labels)
    }

    pub(super) fn aggregation(&mut self, operation: &Token) -> Result<Checked, Complaint> {
        let mut grouped = false;
        if !self.token.is("(") {
            self.advance();
            self.grouping_labels()?;
            grouped = true;
        }
        if !self.token.is("(") {
            return self.unexpected("aggregation", "");
        }
        let arguments = self.arguments()?;
        if !grouped && (self.token.is_word("by") || self.token.is_word("without")) {
            self.advance();
            self.grouping_labels()?;
        }
        let name = operation.text.to_ascii_lowercase();
        let parameter = match name.as_str() {
            "topk" | "bottomk" | "quantile" => Some(Type::Scalar),
            "count_values" => Some(Type::String),
            _ => None,
        };
        let wanted = 1 + usize::from(parameter.is_some());
        let depth = 1 + arguments.iter().map(|argument| argument.depth).max().unwrap_or(0);
        if arguments.is_empty() {
            self.complain(operation.at, "no arguments for aggregate expression provided".into());
        } else if arguments.len() != wanted {
            let got = arguments.len();
            let why = "wrong number of arguments for aggregate expression provided";
            self.complain(operation.at, format!("{why}, expected {wanted}, got {got}"));
        } else {
            self.expect(arguments[wanted - 1], Type::Vector, "aggregation expression");
            if let Some(parameter) = parameter {
                self.expect(arguments[0], parameter, "aggregation parameter");
            }
        }
        Ok(Checked { at: operation.at, of: Type::Vector, form: Form::Other, depth })
    }

    fn arguments(&mut self) -> Result<Vec<Checked>, Complaint> {
        self.advance();
        let mut arguments = Vec::new();
        if self.token.is(")") {
            self.advance();
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression(0)?);
            if self.token.is(")") {
                self.advance();
                return Ok(arguments);
            }
            if !self.token.is(",") {
                return self.unexpected("", "");
            }
            let comma = self.advance().at;
            if self.token.is(")") {
                self.complain(comma, "trailing commas not allowed in function call args".into());
                self.advance();
                return Ok(arguments);
            }
        }
    }

    pub(super) fn call(&mut self, function: &Token) -> Result<Checked, Complaint> {
        let arguments = self.arguments()?;
        let depth = 1 + arguments.iter().map(|argument| argument.depth).max().unwrap_or(0);
        let name = function.text.as_str();
        let Some((types, arity, of)) = signature(name) else {
            if is_of_later_version(name) {
                self.later.get_or_insert_with(|| name.to_owned());
            } else {
                self.complain(function.at, format!("unknown function with name {}", quoted(name)));
            }
            return Ok(Checked { at: function.at, of: Type::Vector, form: Form::Other, depth });
        };
        if name == "holt_winters" {
            let known = "double_exponential_smoothing".to_owned();
            self.rewritten.push((function.at, name.len(), known));
        }
        let (most, got) = (types.len(), arguments.len());
        let told = |bound: &str, n: usize| format!("expected {bound}{n} argument(s) in call to \"{name}\", got {got}");
        let wrong = match arity {
            Arity::Exact => (got != most).then(|| told("", most)),
            Arity::Optional if got > most => Some(told("at most ", most)),
            _ => (got + 1 < most).then(|| told("at least ", most - 1)),
        };
        if let Some(wrong) = wrong {
            self.ill_typed(function.at, wrong);
        }
        for (n, argument) in arguments.iter().enumerate() {
            if let Some(wanted) = types.get(n).or(types.last().filter(|_| arity == Arity::Many)) {
                self.expect(*argument, *wanted, &format!("call to function \"{name}\""));
            }
        }
        Ok(Checked { at: function.at, of, form: Form::Other, depth })
    }
}
