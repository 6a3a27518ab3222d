//! The query of a request, read name by name: what nobody asked for is refused, so that a typo
//! does not silently give another answer.

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;

use crate::problem::Problem;

/// The items of a list when no `limit` is given.
const LIMIT_DEFAULT: usize = 100;
/// The most items of a list; a larger `limit` counts as this.
const LIMIT_MAX: usize = 1_000;
/// The longest query, in parameters.
const PARAMETERS_MAX: usize = 64;

/// The parameters of a query that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(pairs) =
            Query::<Vec<(String, String)>>::from_request_parts(parts, state).await.map_err(|_rejection| {
                Problem::unreadable("The query is not written as name=value&name=value.")
            })?;
        if pairs.len() > PARAMETERS_MAX {
            return Err(Problem::invalid(format!("A query has at most {PARAMETERS_MAX} parameters.")));
        }
        Ok(Self(pairs))
    }
}

impl Params {
    /// Takes a parameter; an empty one counts as left out.
    pub(crate) fn take(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.take_all(name);
        let last = values.pop();
        if !values.is_empty() {
            return Err(Problem::invalid(format!("`{name}` stands in the query twice; give it once.")));
        }
        Ok(last)
    }

    /// Takes all parameters of the name.
    pub(crate) fn take_all(&mut self, name: &str) -> Vec<String> {
        let taken = self.0.extract_if(.., |(found, _)| found == name);
        taken.map(|(_, value)| value).filter(|value| !value.is_empty()).collect()
    }

    /// Takes `true` or `false`.
    pub(crate) fn take_flag(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        match self.take(name)?.as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(Problem::invalid(format!("`{name}` is true or false."))),
        }
    }

    /// Takes `limit`: a positive number, of which at most `max` count.
    pub(crate) fn take_limit(&mut self, default: usize, max: usize) -> Result<usize, Problem> {
        match self.take("limit")? {
            None => Ok(default),
            Some(text) => match text.parse::<u64>() {
                Ok(number @ 1..) => Ok(usize::try_from(number).unwrap_or(max).min(max)),
                _ => Err(Problem::invalid(format!("`limit` is a number from 1 to {max}."))),
            },
        }
    }

    /// Takes `limit` and `cursor` of a list.
    pub(crate) fn take_page(&mut self) -> Result<(usize, Option<String>), Problem> {
        Ok((self.take_limit(LIMIT_DEFAULT, LIMIT_MAX)?, self.take("cursor")?))
    }

    /// Refuses what was not taken.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => {
                let shown: String = name.chars().take(64).collect();
                Err(Problem::invalid(format!(
                    "There is no parameter {shown:?} here; /openapi.json lists those that are."
                )))
            }
        }
    }
}
