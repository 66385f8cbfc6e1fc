//! What steps and replies expect.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::super::super::payload::Template;
use super::super::matcher::{Condition, Expected, Matcher, Needle};
use super::super::raw::{OneOrMore, RawJson, RawStep};
use super::super::{CLASSES_MAX, Step};
use super::{Compiler, Result, line};

/// For steps that say nothing else.
const TIMEOUT_NS: u64 = 10_000_000_000;

impl Compiler<'_> {
    pub(super) fn expect(&mut self, raw: RawStep, span: &Range<usize>) -> Result<()> {
        let RawStep { timeout, measure, .. } = raw;
        let matcher = if let Some(text) = &raw.expect {
            Matcher::Contains(self.needle(text)?)
        } else if let Some(text) = &raw.expect_exact {
            Matcher::Exact(self.needle(text)?)
        } else if let Some(json) = raw.expect_json {
            self.json(json)?
        } else if let Some(bytes) = &raw.expect_bytes {
            Matcher::Bytes(self.hex(bytes)?.into())
        } else {
            if let Some(any) = &raw.expect_any {
                self.must_be_true(any, "expect_any")?;
            }
            Matcher::Any
        };
        let timeout_ns = match timeout {
            None => TIMEOUT_NS,
            Some(text) => self.duration(&text)?,
        };
        let class = measure.map(|name| self.class(&name)).transpose()?;
        let (line, wanted) = (line(self.text, span), matcher.describe());
        let seconds = Duration::from_nanos(timeout_ns);
        let missing = format!("line {line}: {wanted} came within {seconds:?}").into();
        let other = format!("line {line}: a message came that this step does not expect").into();
        self.steps.push(Step::Expect { matcher, timeout_ns, class, missing, other });
        Ok(())
    }

    fn class(&mut self, name: &Spanned<String>) -> Result<usize> {
        if !self.has_sent {
            let what = "nothing is sent before this step, so there is no time to measure from";
            return Err(self.at(&name.span(), what));
        }
        if let Some(class) = self.classes.iter().position(|known| known == name.get_ref()) {
            return Ok(class);
        }
        if self.classes.len() == CLASSES_MAX {
            let what = "more than 64 names for measure; each costs histograms";
            return Err(self.at(&name.span(), what));
        }
        if name.get_ref().trim().is_empty() {
            return Err(self.at(&name.span(), "measure wants a name, such as \"login\""));
        }
        self.classes.push(name.get_ref().clone());
        Ok(self.classes.len() - 1)
    }

    pub(super) fn needle(&self, text: &Spanned<String>) -> Result<Needle> {
        if text.get_ref().is_empty() {
            let what = "every message contains nothing; write expect_any = true if any will do";
            return Err(self.at(&text.span(), what));
        }
        let template = self.repeatable(text)?;
        let needle = template.as_literal().map(Needle::literal);
        Ok(needle.unwrap_or(Needle::Rendered(template)))
    }

    pub(super) fn json(&self, json: Spanned<OneOrMore>) -> Result<Matcher> {
        let span = json.span();
        let mut prefix: Option<Template> = None;
        let mut conditions = Vec::new();
        for (n, raw) in json.into_inner().0.into_iter().enumerate() {
            if let Some(text) = &raw.prefix {
                if n > 0 {
                    let what = "a message has one prefix; give it in the first table";
                    return Err(self.at(&text.span(), what));
                }
                prefix = Some(self.repeatable(text)?);
            }
            conditions.push(self.condition(raw)?);
        }
        if conditions.is_empty() {
            return Err(self.at(&span, "no conditions; write { pointer = \"/type\" }"));
        }
        let prefix = prefix.unwrap_or_else(|| Template::literal(Vec::new()));
        Ok(Matcher::Json { prefix, conditions })
    }

    fn condition(&self, RawJson { pointer, equals, save, .. }: RawJson) -> Result<Condition> {
        let path = pointer.get_ref();
        if !path.is_empty() && !path.starts_with('/') {
            let what = format!("a pointer begins with a slash: \"/{path}\" (RFC 6901)");
            return Err(self.at(&pointer.span(), what));
        }
        let equals = equals.map(|value| {
            let span = value.span();
            match value.into_inner() {
                toml::Value::String(text) => {
                    let template = self.repeatable(&Spanned::new(span, text))?;
                    Ok(match template.as_literal() {
                        Some(text) => Expected::Value(String::from_utf8_lossy(text).into()),
                        None => Expected::Rendered(template),
                    })
                }
                toml::Value::Datetime(_) => {
                    Err(self.at(&span, "JSON has no dates; write it as a string, in quotes"))
                }
                other => {
                    let value = serde_json::to_value(other);
                    let value = value.map_err(|error| self.at(&span, error.to_string()))?;
                    Ok(Expected::Value(value))
                }
            }
        });
        let save = save.map(|name| {
            let known = self.names.variables.iter().position(|known| known == name.get_ref());
            known.ok_or_else(|| self.at(&name.span(), "only a step can save"))
        });
        let pointer = pointer.into_inner().into_boxed_str();
        Ok(Condition { pointer, equals: equals.transpose()?, save: save.transpose()? })
    }

    /// One that says the same whenever it is asked.
    fn repeatable(&self, text: &Spanned<String>) -> Result<Template> {
        let template = self.template(text)?;
        if !template.is_repeatable() {
            let what = "what is expected can name {{seq}} (of the message sent last), {{conn}}, \
                        {{var NAME}} and {{line NAME}} of order \"connection\", but nothing random \
                        and no time";
            return Err(self.at(&text.span(), what));
        }
        Ok(template)
    }
}
