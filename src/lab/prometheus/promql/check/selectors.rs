//! Selectors, and what may stand behind them: ranges, offsets, `@`.

use super::super::functions::Type;
use super::super::lex::{Kind, quoted};
use super::super::literals::milliseconds;
use super::{Checked, Checker, Complaint, Form};

impl Checker<'_> {
    pub(super) fn with_suffixes(&mut self) -> Result<Checked, Complaint> {
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

    pub(super) fn is_metric_name(&self) -> bool {
        match self.token.kind {
            Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregator | Kind::Preprocessor => true,
            Kind::WordOperator => !self.token.is_word("atan2"),
            Kind::Keyword => ["by", "offset", "without"].iter().any(|word| self.token.is_word(word)),
            _ => false,
        }
    }

    /// A metric's name with or without matchers; or, if that may be, what only begins as one: an aggregation, a call.
    pub(super) fn vector_selector(&mut self, only: bool) -> Result<Checked, Complaint> {
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
        let brace = self.token.at;
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
                    if only {
                        // The parser takes two names only where both are matchers.
                        self.rewritten.push((at, name.text.len(), String::new()));
                        self.rewritten.push((brace, 1, format!("{{__name__={first},")));
                    }
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
            _ => match super::super::regular(&value) {
                Ok(regex) => regex.is_match("") == (operator == "=~"),
                Err(why) => {
                    self.complain(label.at, format!("error parsing regexp: {why}"));
                    true
                }
            },
        };
        Ok((label.text, value, takes_empty))
    }
}
