//! Whether Prometheus 2.42 would take a query, and what it says if not.
//!
//! The tree that is evaluated is `promql-parser`'s. That one follows the grammar of later versions, tells no
//! positions, and panics on some texts; so each query passes here first, and only what 2.42 takes goes on.

use super::functions::{Arity, Type, signature};
use super::lex::{Kind, Lexer, Token, quoted};
use super::literals::{milliseconds, unquoted};

/// How deep expressions may be nested in each other: each level costs stack.
const DEEPEST: usize = 100;

/// Why a query is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lab::prometheus) enum Wrong {
    /// `1:6: parse error: …`
    Parse(String),
    /// Right, but more than the lab does.
    TooDeep,
}

/// The place in bytes, and the text.
type Complaint = (usize, String);

/// An expression, as far as what stands around it must know.
#[derive(Clone, Copy)]
struct Checked {
    at: usize,
    of: Type,
    form: Form,
    depth: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// A selector with or without a range, or a subquery; whether it has an offset and an `@`.
    Shiftable {
        instant: bool,
        offset: bool,
        at: bool,
    },
    Other,
}

struct Checker<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    token: Token,
    /// The first error of the grammar: they come before errors of types.
    complaint: Option<Complaint>,
    ill_typed: Option<Complaint>,
    too_deep: bool,
    level: usize,
    /// What the parser is to read in place of a token: the token's place and length, and the text.
    rewritten: Vec<(usize, usize, String)>,
}

/// Checks a query. Returns its type, and the query in the words that `promql-parser` knows.
pub(in crate::lab::prometheus) fn query(text: &str) -> Result<(Type, String), Wrong> {
    let mut checker = Checker::new(text);
    let checked = checker.whole();
    let checked = checker.verdict(checked)?;
    Ok((checked.of, checker.normal()))
}

/// Checks a text that is to be a selector and nothing more. Returns it as [`query`] does.
pub(in crate::lab::prometheus) fn selector(text: &str) -> Result<String, Wrong> {
    let mut checker = Checker::new(text);
    let checked = checker.only_selector();
    // Whether a matcher is there that is not empty is for the caller to say, in its own words.
    checker.ill_typed = checker.ill_typed.take_if(|(_, why)| why.starts_with("metric name"));
    checker.verdict(checked)?;
    Ok(checker.normal())
}

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

impl<'a> Checker<'a> {
    fn new(text: &'a str) -> Self {
        let mut lexer = Lexer::new(text);
        let token = lexer.next();
        Self { text, lexer, token, complaint: None, ill_typed: None, too_deep: false, level: 0, rewritten: Vec::new() }
    }

    fn verdict(&self, checked: Result<Checked, Complaint>) -> Result<Checked, Wrong> {
        let parse = |(at, why): &Complaint| {
            let before = &self.text.as_bytes()[..(*at).min(self.text.len())];
            let line = 1 + before.iter().filter(|letter| **letter == b'\n').count();
            let column = 1 + before.iter().rev().take_while(|letter| **letter != b'\n').count();
            Wrong::Parse(format!("{line}:{column}: parse error: {why}"))
        };
        if self.too_deep {
            return Err(Wrong::TooDeep);
        }
        if let Some(complaint) = &self.complaint {
            return Err(parse(complaint));
        }
        let checked = checked.map_err(|complaint| parse(&complaint))?;
        self.ill_typed.as_ref().map_or(Ok(checked), |complaint| Err(parse(complaint)))
    }

    fn normal(&self) -> String {
        let mut normal = self.text.to_owned();
        let mut rewritten = self.rewritten.clone();
        rewritten.sort_unstable();
        for (at, len, text) in rewritten.into_iter().rev() {
            normal.replace_range(at..at + len, &text);
        }
        normal
    }

    /// Reads a string. Its escapes are written anew, for the parser does not know them all.
    fn string(&mut self) -> String {
        let token = self.advance();
        let value = unquoted(&token.text);
        if token.text.contains('\\') {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            self.rewritten.push((token.at, token.text.len(), format!("\"{escaped}\"")));
        }
        value
    }

    fn advance(&mut self) -> Token {
        let next = self.lexer.next();
        std::mem::replace(&mut self.token, next)
    }

    /// An error that does not end the reading.
    fn complain(&mut self, at: usize, why: String) {
        self.complaint.get_or_insert((at, why));
    }

    fn ill_typed(&mut self, at: usize, why: impl Into<String>) {
        self.ill_typed.get_or_insert((at, why.into()));
    }

    fn unexpected<T>(&self, context: &str, expected: &str) -> Result<T, Complaint> {
        if self.token.kind == Kind::Error {
            return Err((self.token.at, self.token.text.clone()));
        }
        let mut why = format!("unexpected {}", self.token.described());
        if !context.is_empty() {
            why = format!("{why} in {context}");
        }
        if !expected.is_empty() {
            why = format!("{why}, expected {expected}");
        }
        Err((self.token.at, why))
    }

    fn whole(&mut self) -> Result<Checked, Complaint> {
        if self.token.kind == Kind::End {
            return Err((0, "no expression found in input".into()));
        }
        let checked = self.expression(0)?;
        if self.token.kind == Kind::End { Ok(checked) } else { self.unexpected("", "") }
    }

    fn only_selector(&mut self) -> Result<Checked, Complaint> {
        let named = self.is_metric_name();
        if !named && !self.token.is("{") {
            return self.unexpected("", "");
        }
        let checked = self.vector_selector(true)?;
        if self.token.kind == Kind::End { Ok(checked) } else { self.unexpected("", "") }
    }

    /// The type of `checked` must be `wanted`.
    fn expect(&mut self, checked: Checked, wanted: Type, context: &str) {
        if checked.of != wanted {
            let (wanted, got) = (wanted.documented(), checked.of.documented());
            self.ill_typed(checked.at, format!("expected type {wanted} in {context}, got {got}"));
        }
    }

    fn expression(&mut self, weakest: u8) -> Result<Checked, Complaint> {
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

    fn with_suffixes(&mut self) -> Result<Checked, Complaint> {
        let mut checked = self.primary()?;
        loop {
            checked = if self.token.is("[") {
                self.range(checked)?
            } else if self.token.is_word("offset") {
                self.offset(checked)?
            } else if self.token.is("@") {
                self.at_time(checked)?
            } else {
                return Ok(checked);
            };
        }
    }

    fn range(&mut self, of: Checked) -> Result<Checked, Complaint> {
        let bracket = self.advance().at;
        if self.token.kind != Kind::Duration {
            return self.unexpected("subquery selector", "duration");
        }
        self.duration();
        if self.token.is("]") {
            self.advance();
            match of.form {
                Form::Shiftable { instant: true, offset: true, .. } => {
                    self.complain(bracket, "no offset modifiers allowed before range".into());
                }
                Form::Shiftable { instant: true, at: true, .. } => {
                    self.complain(bracket, "no @ modifiers allowed before range".into());
                }
                Form::Shiftable { instant: true, .. } => {}
                _ => self.complain(bracket, "ranges only allowed for vector selectors".into()),
            }
            let form = Form::Shiftable { instant: false, offset: false, at: false };
            return Ok(Checked { of: Type::Matrix, form, ..of });
        }
        if self.token.kind != Kind::Punctuation || self.token.text != ":" {
            return self.unexpected("subquery or range", "\":\" or \"]\"");
        }
        self.advance();
        if self.token.kind == Kind::Duration {
            self.duration();
            if !self.token.is("]") {
                return self.unexpected("subquery selector", "\"]\"");
            }
        } else if !self.token.is("]") {
            return self.unexpected("subquery selector", "duration or \"]\"");
        }
        self.advance();
        if of.of != Type::Vector {
            let got = of.of.short();
            self.ill_typed(of.at, format!("subquery is only allowed on instant vector, got {got} instead"));
        }
        let form = Form::Shiftable { instant: false, offset: false, at: false };
        Ok(Checked { at: of.at, of: Type::Matrix, form, depth: of.depth + 1 })
    }

    fn duration(&mut self) {
        let token = self.advance();
        match milliseconds(&token.text) {
            Ok(0) => self.complain(token.at, "duration must be greater than 0".into()),
            Ok(_) => {}
            Err(why) => self.complain(token.at, why),
        }
    }

    fn offset(&mut self, of: Checked) -> Result<Checked, Complaint> {
        self.advance();
        if self.token.is("-") {
            self.advance();
        }
        if self.token.kind != Kind::Duration {
            return self.unexpected("offset", "duration");
        }
        self.duration();
        match of.form {
            Form::Shiftable { offset: true, .. } => self.complain(of.at, "offset may not be set multiple times".into()),
            Form::Shiftable { instant, at, .. } => {
                return Ok(Checked { form: Form::Shiftable { instant, offset: true, at }, ..of });
            }
            Form::Other => {
                let allowed = "an instant vector selector or range vector selector or a subquery";
                self.complain(of.at, format!("offset modifier must be preceded by {allowed}"));
            }
        }
        Ok(of)
    }

    fn at_time(&mut self, of: Checked) -> Result<Checked, Complaint> {
        self.advance();
        if self.token.kind == Kind::Preprocessor {
            self.advance();
            for parenthesis in ["(", ")"] {
                if !self.token.is(parenthesis) {
                    return self.unexpected("@", "timestamp");
                }
                self.advance();
            }
        } else {
            let sign = if self.token.is("+") || self.token.is("-") { self.advance().text } else { String::new() };
            if self.token.kind != Kind::Number {
                return self.unexpected("@", "timestamp");
            }
            let token = self.advance();
            let seconds = self.number(&token);
            let seconds = if sign == "-" { -seconds } else { seconds };
            #[expect(clippy::cast_precision_loss, reason = "a bound")]
            if seconds.is_nan() || seconds.abs() >= i64::MAX as f64 {
                let told = match seconds {
                    s if s.is_nan() => "NaN".to_owned(),
                    f64::INFINITY => "+Inf".to_owned(),
                    f64::NEG_INFINITY => "-Inf".to_owned(),
                    s => format!("{s:.6}"),
                };
                self.complain(of.at, format!("timestamp out of bounds for @ modifier: {told}"));
            }
        }
        match of.form {
            Form::Shiftable { at: true, .. } => {
                self.complain(of.at, "@ <timestamp> may not be set multiple times".into());
            }
            Form::Shiftable { instant, offset, .. } => {
                return Ok(Checked { form: Form::Shiftable { instant, offset, at: true }, ..of });
            }
            Form::Other => {
                let allowed = "an instant vector selector or range vector selector or a subquery";
                self.complain(of.at, format!("@ modifier must be preceded by {allowed}"));
            }
        }
        Ok(of)
    }

    fn is_metric_name(&self) -> bool {
        match self.token.kind {
            Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregator | Kind::Preprocessor => true,
            Kind::WordOperator => !self.token.is_word("atan2"),
            Kind::Keyword => ["by", "offset", "without"].iter().any(|word| self.token.is_word(word)),
            _ => false,
        }
    }

    fn primary(&mut self) -> Result<Checked, Complaint> {
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

    /// A metric's name with or without matchers; or, if that may be, what only begins as one: an aggregation, a call.
    fn vector_selector(&mut self, only: bool) -> Result<Checked, Complaint> {
        let at = self.token.at;
        let name = if self.token.is("{") { None } else { Some(self.advance()) };
        if let Some(name) = name.as_ref().filter(|_| !only) {
            let grouping = self.token.is_word("by") || self.token.is_word("without");
            if name.kind == Kind::Aggregator && (self.token.is("(") || grouping) {
                return self.aggregation(name);
            }
            if name.kind == Kind::Identifier && self.token.is("(") {
                return self.call(name);
            }
        }
        let mut matchers = Vec::new();
        if self.token.is("{") {
            self.advance();
            while !self.token.is("}") {
                matchers.push(self.matcher()?);
                if self.token.is(",") {
                    self.advance();
                } else if !self.token.is("}") {
                    return self.unexpected("label matching", "\",\" or \"}\"");
                }
            }
            self.advance();
        }
        match &name {
            Some(name) => {
                if let Some((_, value, _)) = matchers.iter().find(|(label, ..)| label == "__name__") {
                    let (first, second) = (quoted(&name.text), quoted(value));
                    self.ill_typed(at, format!("metric name must not be set twice: {first} or {second}"));
                }
            }
            None if matchers.iter().all(|(.., takes_empty)| *takes_empty) => {
                self.ill_typed(at, "vector selector must contain at least one non-empty matcher");
            }
            None => {}
        }
        let form = Form::Shiftable { instant: true, offset: false, at: false };
        Ok(Checked { at, of: Type::Vector, form, depth: 1 })
    }

    /// The label, the text to match, and whether the matcher takes an empty value.
    fn matcher(&mut self) -> Result<(String, String, bool), Complaint> {
        if self.token.kind != Kind::Identifier {
            return self.unexpected("label matching", "identifier or \"}\"");
        }
        let label = self.advance();
        if !["=", "!=", "=~", "!~"].iter().any(|operator| self.token.is(operator)) {
            return self.unexpected("label matching", "label matching operator");
        }
        let operator = self.advance().text;
        if self.token.kind != Kind::String {
            return self.unexpected("label matching", "string");
        }
        let value = self.string();
        let takes_empty = match operator.as_str() {
            "=" => value.is_empty(),
            "!=" => !value.is_empty(),
            _ => match super::regular(&value) {
                Ok(regex) => regex.is_match("") == (operator == "=~"),
                Err(why) => {
                    self.complain(label.at, format!("error parsing regexp: {why}"));
                    true
                }
            },
        };
        Ok((label.text, value, takes_empty))
    }

    fn grouping_labels(&mut self) -> Result<Vec<String>, Complaint> {
        if !self.token.is("(") {
            return self.unexpected("grouping opts", "\"(\"");
        }
        self.advance();
        let mut labels = Vec::new();
        while !self.token.is(")") {
            if !self.token.text.is_ascii() || !super::super::labels::is_metric_name(&self.token.text) {
                return self.unexpected("grouping opts", "label");
            }
            let label = self.advance();
            if !super::super::labels::is_label_name(&label.text) {
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

    fn aggregation(&mut self, operation: &Token) -> Result<Checked, Complaint> {
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

    fn call(&mut self, function: &Token) -> Result<Checked, Complaint> {
        let arguments = self.arguments()?;
        let depth = 1 + arguments.iter().map(|argument| argument.depth).max().unwrap_or(0);
        let name = function.text.as_str();
        let Some((types, arity, of)) = signature(name) else {
            self.complain(function.at, format!("unknown function with name {}", quoted(name)));
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

    fn number(&mut self, token: &Token) -> f64 {
        let text = token.text.to_ascii_lowercase();
        let whole = match text.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16).ok(),
            None if text.starts_with('0') => i64::from_str_radix(&text, 8).ok(),
            None => None,
        };
        #[expect(clippy::cast_precision_loss, reason = "as the real one reads it")]
        if let Some(whole) = whole {
            return whole as f64;
        }
        let failed =
            |what: &str| format!("error parsing number: strconv.ParseFloat: parsing {}: {what}", quoted(&token.text));
        match text.parse::<f64>() {
            Ok(value) if value.is_infinite() && text != "inf" => {
                self.complain(token.at, failed("value out of range"));
                value
            }
            Ok(value) => value,
            Err(_) => {
                self.complain(token.at, failed("invalid syntax"));
                0.0
            }
        }
    }
}
