//! Paths and query strings, read as strictly as bodies.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use axum::{
    RequestPartsExt,
    extract::{FromRequestParts, Query as Pairs, RawPathParams},
};
use contracts::{ErrorCode, TicketId, ids::InvalidId};
use http::request::Parts;
use strum::VariantArray;

use super::instant;
use crate::{App, problem::Failure};

/// The thing that the path names.
#[derive(Debug, Clone, Copy)]
pub struct PathId<T>(pub T);

impl<T: FromStr<Err = InvalidId> + Send> FromRequestParts<App> for PathId<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        let params = parts
            .extract::<RawPathParams>()
            .await
            .map_err(|_| Failure::parameter("id", "The path is not valid UTF-8."))?;
        let text = params.iter().find(|(name, _)| *name == "id");
        let (_, text) = text.ok_or_else(|| Failure::internal("the route has no `{id}`"))?;
        match text.parse() {
            Ok(id) => Ok(Self(id)),
            Err(error) => Err(Failure::parameter("id", sentence(error))),
        }
    }
}

/// The ticket that the path names.
#[derive(Debug, Clone, Copy)]
pub struct TicketPath(pub TicketId);

impl FromRequestParts<App> for TicketPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let PathId(id) = PathId::from_request_parts(parts, app).await?;
        Ok(Self(id))
    }
}

/// The query string: each parameter known to the operation, and given once.
#[derive(Debug, Default)]
pub struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads it; `known` are the operation's parameters.
    pub fn read(parts: &Parts, known: &[&str]) -> Result<Self, Failure> {
        let Pairs(pairs) = Pairs::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Failure::new(ErrorCode::InvalidParameter, "The query cannot be read."))?;
        let mut values = BTreeMap::new();
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                let known = match known {
                    [] => "it takes none".to_owned(),
                    names => format!("it takes {}", names.join(", ")),
                };
                let name: String = name.chars().take(80).collect();
                let detail = format!("This operation has no parameter `{name}`; {known}.");
                return Err(Failure::parameter(&name, detail));
            }
            if value.contains('\0') {
                let detail = format!("`{name}` must not contain NUL.");
                return Err(Failure::parameter(&name, detail));
            }
            if instant::is_far(&value) {
                let detail = format!("`{name}` {}.", instant::RULE);
                return Err(Failure::parameter(&name, detail));
            }
            if values.insert(name.clone(), value).is_some() {
                let detail = format!("`{name}` is given twice.");
                return Err(Failure::parameter(&name, detail));
            }
        }
        Ok(Self(values))
    }

    /// The parameter, if it was given.
    pub fn get<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Failure> {
        self.0.get(name).map(|text| read(name, text)).transpose()
    }

    /// The values of the parameter, separated by commas; none when it was not given.
    pub fn list<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Vec<T>, Failure> {
        self.texts(name).map(|text| read(name, text)).collect()
    }

    /// The parameter, if it was given: one word of a fixed list.
    pub fn word<T: FromStr + Display + VariantArray>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Failure> {
        self.0
            .get(name)
            .map(|text| one_of(name, text, T::VARIANTS))
            .transpose()
    }

    /// The values of the parameter, separated by commas: words of a fixed list.
    pub fn words<T: FromStr + Display + VariantArray>(
        &self,
        name: &str,
    ) -> Result<Vec<T>, Failure> {
        self.texts(name)
            .map(|text| one_of(name, text, T::VARIANTS))
            .collect()
    }

    /// The number of rows asked for, if it was said.
    pub fn limit(&self, most: u32) -> Result<Option<u32>, Failure> {
        let limit = self.get("limit")?;
        if limit.is_some_and(|limit| !(1..=most).contains(&limit)) {
            let detail = format!("`limit` must be from 1 to {most}.");
            return Err(Failure::parameter("limit", detail));
        }
        Ok(limit)
    }

    fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .get(name)
            .into_iter()
            .flat_map(|text| text.split(','))
    }
}

fn read<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error| {
        let detail = format!("`{name}` cannot be read: {}", sentence(error));
        Failure::parameter(name, detail)
    })
}

fn one_of<T: FromStr + Display>(name: &str, text: &str, words: &[T]) -> Result<T, Failure> {
    text.parse().map_err(|_| {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        let detail = format!("`{name}` must be one of {}.", words.join(", "));
        Failure::parameter(name, detail)
    })
}

/// A parameter that an operation cannot do without.
pub fn missing(name: &str) -> Failure {
    Failure::parameter(name, format!("`{name}` is missing."))
}

fn sentence(error: impl Display) -> String {
    format!("{error}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn asked(uri: &str) -> Result<Query, Failure> {
        let (parts, ()) = Request::get(uri).body(()).unwrap().into_parts();
        Query::read(&parts, &["limit", "state"])
    }

    #[test]
    fn known_parameters_are_read() {
        let query = asked("/x?limit=7&state=a%20b").unwrap();
        assert_eq!(query.get::<u32>("limit").unwrap(), Some(7));
        assert_eq!(
            query.get::<String>("state").unwrap().as_deref(),
            Some("a b")
        );
        assert_eq!(asked("/x").unwrap().get::<u32>("limit").unwrap(), None);
    }

    #[test]
    fn a_list_is_separated_by_commas() {
        let words = |uri| asked(uri).unwrap().words::<contracts::TicketState>("state");
        assert_eq!(words("/x").unwrap(), []);
        assert_eq!(words("/x?state=NEW,ON_SITE").unwrap().len(), 2);
        for uri in ["/x?state=NEW,", "/x?state=", "/x?state=NEW,new"] {
            let failure = words(uri).unwrap_err();
            assert_eq!(failure.code(), ErrorCode::InvalidParameter, "{uri}");
        }
        let numbers = asked("/x?limit=1,2").unwrap().list::<u32>("limit");
        assert_eq!(numbers.unwrap(), [1, 2]);
    }

    #[test]
    fn a_limit_is_bounded() {
        let limit = |uri| asked(uri).unwrap().limit(200);
        assert_eq!(limit("/x").unwrap(), None);
        assert_eq!(limit("/x?limit=200").unwrap(), Some(200));
        for uri in ["/x?limit=0", "/x?limit=201", "/x?limit=-1"] {
            assert!(limit(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn unknown_double_and_unreadable_ones_are_refused() {
        let code = |failure: Failure| failure.code();
        for uri in ["/x?colour=1", "/x?limit=1&limit=1", "/x?=1"] {
            assert_eq!(
                code(asked(uri).unwrap_err()),
                ErrorCode::InvalidParameter,
                "{uri}"
            );
        }
        let query = asked("/x?limit=many&state=new").unwrap();
        let state = query.word::<contracts::TicketState>("state").unwrap_err();
        assert_eq!(code(state), ErrorCode::InvalidParameter);
        assert_eq!(
            code(query.get::<u32>("limit").unwrap_err()),
            ErrorCode::InvalidParameter
        );
    }
}
