//! One expression, evaluated while it is read. Both branches of a condition are evaluated, which does no
//! harm: nothing has an effect, and what is not there is only undefined.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value as Json;

use super::{Beyond, Scope, Term, number, render};

/// Expressions inside one another.
const DEPTH_MAX: usize = 16;
/// Arguments of a filter.
const ARGUMENTS_MAX: usize = 4;

pub(super) struct Expression<'t, 'j> {
    rest: &'t str,
    depth: usize,
    scope: &'t Scope<'j>,
}

type Found<'j> = Result<Term<'j>, Beyond>;

impl<'t, 'j: 't> Expression<'t, 'j> {
    pub(super) fn evaluate(text: &'t str, scope: &'t Scope<'j>) -> Found<'t> {
        let mut expression = Self { rest: text, depth: 0, scope };
        let found = expression.condition()?;
        match expression.peek() {
            None => Ok(found),
            Some(_) => Err(expression.beyond()),
        }
    }

    /// `a if b else c`
    fn condition(&mut self) -> Found<'t> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH_MAX {
            return Err(Beyond("is nested too deeply".to_owned()));
        }
        let value = self.either()?;
        let found = if self.word("if") {
            let is_so = self.either()?.is_true();
            let otherwise = if self.word("else") { self.condition()? } else { Term::Undefined };
            if is_so { value } else { otherwise }
        } else {
            value
        };
        self.depth = self.depth.saturating_sub(1);
        Ok(found)
    }

    fn either(&mut self) -> Found<'t> {
        let mut found = self.both()?;
        while self.word("or") {
            let other = self.both()?;
            found = if found.is_true() { found } else { other };
        }
        Ok(found)
    }

    fn both(&mut self) -> Found<'t> {
        let mut found = self.negation()?;
        while self.word("and") {
            let other = self.negation()?;
            found = if found.is_true() { other } else { found };
        }
        Ok(found)
    }

    fn negation(&mut self) -> Found<'t> {
        let mut is_negated = false;
        let mut is_plain = true;
        while self.word("not") {
            is_negated = !is_negated;
            is_plain = false;
        }
        let found = self.comparison()?;
        if is_plain { Ok(found) } else { Ok(own(Json::Bool(found.is_true() != is_negated))) }
    }

    fn comparison(&mut self) -> Found<'t> {
        let one = self.sum()?;
        if self.word("is") {
            let is_negated = self.word("not");
            let is_so = match (self.name(), &one) {
                (Some("defined"), one) => !matches!(one, Term::Undefined),
                (Some("none"), Term::Is(value)) => value.is_null(),
                (Some("none"), Term::Undefined) => false,
                _ => return Err(self.beyond()),
            };
            return Ok(own(Json::Bool(is_so != is_negated)));
        }
        for sign in ["==", "!=", "<=", ">=", "<", ">"] {
            if self.sign(sign) {
                let other = self.sum()?;
                return Ok(own(Json::Bool(compare(&one, sign, &other))));
            }
        }
        Ok(one)
    }

    fn sum(&mut self) -> Found<'t> {
        let mut found = self.product()?;
        loop {
            let Some(sign) = ["+", "-", "~"].into_iter().find(|sign| self.sign(sign)) else {
                return Ok(found);
            };
            let other = self.product()?;
            found = match (&found, &other) {
                (Term::Is(one), Term::Is(other)) if sign == "~" => {
                    own(Json::String(format!("{}{}", render(one), render(other))))
                }
                (Term::Is(one), Term::Is(other)) => of(number::combine(one, sign, other)),
                _ => Term::Undefined,
            };
        }
    }

    fn product(&mut self) -> Found<'t> {
        let mut found = self.filtered()?;
        loop {
            let Some(sign) = ["*", "/", "%"].into_iter().find(|sign| self.sign(sign)) else {
                return Ok(found);
            };
            let other = self.filtered()?;
            found = match (&found, &other) {
                (Term::Is(one), Term::Is(other)) => of(number::combine(one, sign, other)),
                _ => Term::Undefined,
            };
        }
    }

    fn filtered(&mut self) -> Found<'t> {
        let mut found = self.path()?;
        while self.sign("|") {
            let name = self.name().ok_or_else(|| self.beyond())?;
            let arguments = if self.sign("(") { self.arguments()? } else { Vec::new() };
            found = apply(name, found, &arguments)?;
        }
        Ok(found)
    }

    fn path(&mut self) -> Found<'t> {
        let mut found = self.primary()?;
        loop {
            found = if self.sign(".") {
                let name = self.name().ok_or_else(|| self.beyond())?;
                if self.peek() == Some('(') {
                    return Err(Beyond(format!("the method {name} is not understood")));
                }
                member(found, &Json::from(name))
            } else if self.sign("[") {
                let Term::Is(name) = self.condition()? else { return Err(self.beyond()) };
                if !self.sign("]") {
                    return Err(self.beyond());
                }
                member(found, &name)
            } else {
                return Ok(found);
            };
        }
    }

    fn primary(&mut self) -> Found<'t> {
        match self.peek() {
            Some('(') => {
                self.sign("(");
                let found = self.condition()?;
                if self.sign(")") { Ok(found) } else { Err(self.beyond()) }
            }
            Some('-') => {
                self.sign("-");
                let number = self.digits()?;
                Ok(of(number::combine(&Json::from(0), "-", &number)))
            }
            Some('\'' | '"') => self.text(),
            Some('0'..='9') => self.digits().map(own),
            _ => self.named(),
        }
    }

    fn named(&mut self) -> Found<'t> {
        let name = self.name().ok_or_else(|| self.beyond())?;
        match name {
            "value_json" => Ok(self.scope.json.map_or(Term::Undefined, |json| Term::Is(Cow::Borrowed(json)))),
            "value" => Ok(Term::Is(Cow::Borrowed(&self.scope.value))),
            "true" | "True" => Ok(own(Json::Bool(true))),
            "false" | "False" => Ok(own(Json::Bool(false))),
            "none" | "None" => Ok(own(Json::Null)),
            "float" | "int" if self.sign("(") => {
                let mut arguments = self.arguments()?.into_iter();
                let first = arguments.next().ok_or_else(|| self.beyond())?;
                apply(name, first, &arguments.collect::<Vec<_>>())
            }
            _ => Err(Beyond(format!("{name} is not understood"))),
        }
    }

    /// What follows an opening bracket, up to the closing one.
    fn arguments(&mut self) -> Result<Vec<Term<'t>>, Beyond> {
        let mut arguments = Vec::new();
        while !self.sign(")") {
            if arguments.len() >= ARGUMENTS_MAX || !arguments.is_empty() && !self.sign(",") {
                return Err(self.beyond());
            }
            arguments.push(self.condition()?);
        }
        Ok(arguments)
    }

    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn sign(&mut self, sign: &str) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn name(&mut self) -> Option<&'t str> {
        self.peek().filter(|first| first.is_ascii_alphabetic() || *first == '_')?;
        let end = self.rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let (name, rest) = self.rest.split_at_checked(end.unwrap_or(self.rest.len()))?;
        self.rest = rest;
        Some(name)
    }

    fn word(&mut self, word: &str) -> bool {
        let before = self.rest;
        let is_here = self.name() == Some(word);
        if !is_here {
            self.rest = before;
        }
        is_here
    }

    fn text(&mut self) -> Found<'t> {
        let quote = self.peek().unwrap_or('"');
        let inner = self.rest.strip_prefix(quote).and_then(|rest| rest.split_once(quote));
        let Some((text, rest)) = inner.filter(|(text, _)| !text.contains('\\')) else {
            return Err(self.beyond());
        };
        self.rest = rest;
        Ok(own(Json::from(text)))
    }

    fn digits(&mut self) -> Result<Json, Beyond> {
        self.peek();
        let end = self.rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
        let Some((digits, rest)) = self.rest.split_at_checked(end.unwrap_or(self.rest.len())) else {
            return Err(self.beyond());
        };
        let whole = digits.parse::<i64>().ok().map(Json::from);
        let number = whole.or_else(|| digits.parse().ok().and_then(number::float));
        let number = number.ok_or_else(|| self.beyond())?;
        self.rest = rest;
        Ok(number)
    }

    fn beyond(&self) -> Beyond {
        const SHOWN_MAX: usize = 40;
        let shown: String = self.rest.trim_start().chars().take(SHOWN_MAX).collect();
        Beyond(if shown.is_empty() {
            "ends too early".to_owned()
        } else {
            format!("{shown:?} is not understood")
        })
    }
}

impl Term<'_> {
    fn is_true(&self) -> bool {
        let Term::Is(value) = self else { return false };
        match &**value {
            Json::Null => false,
            Json::Bool(value) => *value,
            Json::Number(number) => number.as_f64() != Some(0.0),
            Json::String(text) => !text.is_empty(),
            Json::Array(elements) => !elements.is_empty(),
            Json::Object(members) => !members.is_empty(),
        }
    }
}

fn own<'j>(value: Json) -> Term<'j> {
    Term::Is(Cow::Owned(value))
}

fn of<'j>(value: Option<Json>) -> Term<'j> {
    value.map_or(Term::Undefined, own)
}

fn member<'j>(of: Term<'j>, name: &Json) -> Term<'j> {
    fn inside<'v>(value: &'v Json, name: &Json) -> Option<&'v Json> {
        match name {
            Json::String(name) => value.get(name.as_str()),
            Json::Number(index) => value.get(usize::try_from(index.as_u64()?).ok()?),
            _ => None,
        }
    }
    let found = match of {
        Term::Undefined => None,
        Term::Is(Cow::Borrowed(value)) => inside(value, name).map(|found| Term::Is(Cow::Borrowed(found))),
        Term::Is(Cow::Owned(value)) => inside(&value, name).cloned().map(own),
    };
    found.unwrap_or(Term::Undefined)
}

fn compare(one: &Term<'_>, sign: &str, other: &Term<'_>) -> bool {
    let (Term::Is(one), Term::Is(other)) = (one, other) else { return sign == "!=" };
    let order = match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.partial_cmp(&other),
        _ if one == other => Some(Ordering::Equal),
        _ => match (one.as_str(), other.as_str()) {
            (Some(one), Some(other)) => Some(one.cmp(other)),
            _ => None,
        },
    };
    match (sign, order) {
        ("==", order) => order == Some(Ordering::Equal),
        ("!=", order) => order != Some(Ordering::Equal),
        (_, None) => false,
        ("<", Some(order)) => order.is_lt(),
        (">", Some(order)) => order.is_gt(),
        ("<=", Some(order)) => order.is_le(),
        (_, Some(order)) => order.is_ge(),
    }
}

fn apply<'j>(filter: &str, value: Term<'j>, arguments: &[Term<'j>]) -> Found<'j> {
    let first = arguments.first().cloned();
    let number_of = |term: &Term<'_>| match term {
        Term::Is(value) => number::of(value),
        Term::Undefined => None,
    };
    let text = match &value {
        Term::Is(value) => Some(render(value).into_owned()),
        Term::Undefined => None,
    };
    let texted = |change: fn(&str) -> String| of(text.as_deref().map(change).map(Json::String));
    Ok(match filter {
        "float" | "int" => {
            let convert = if filter == "int" { number::integer } else { number::float };
            match number_of(&value).and_then(convert) {
                Some(number) => own(number),
                None => first.unwrap_or(Term::Undefined),
            }
        }
        "round" => {
            let digits = first.as_ref().and_then(number_of);
            of(number_of(&value).and_then(|number| number::round(number, digits)))
        }
        "abs" => of(number_of(&value).map(f64::abs).and_then(number::float)),
        "default" => match value {
            Term::Undefined => first.unwrap_or(Term::Undefined),
            value => value,
        },
        "is_defined" => value,
        "multiply" | "add" => {
            let sign = if filter == "add" { "+" } else { "*" };
            let other = first.as_ref().and_then(number_of).and_then(number::float);
            let one = number_of(&value).and_then(number::float);
            of(one.zip(other).and_then(|(one, other)| number::combine(&one, sign, &other)))
        }
        "string" => texted(str::to_owned),
        "lower" => texted(str::to_lowercase),
        "upper" => texted(str::to_uppercase),
        "trim" => texted(|text| text.trim().to_owned()),
        "tojson" | "to_json" => match &value {
            Term::Is(value) => own(Json::String(value.to_string())),
            Term::Undefined => Term::Undefined,
        },
        _ => return Err(Beyond(format!("the filter {filter} is not understood"))),
    })
}
