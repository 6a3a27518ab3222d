//! `.well-known/core`: what there is, for those who ask (RFC 6690); the same for everybody, and no
//! device in it.

use roost_wire::coap::{Answer, Code, ContentFormat, Request};

use super::actions::not_allowed;

/// A path and its attributes; one without a value is only there.
type Link = (&'static str, &'static [(&'static str, &'static str)]);

const BOTH: (&str, &str) = ("ct", "50 60");
const OBSERVABLE: (&str, &str) = ("obs", "");

const LINKS: &[Link] = &[
    ("/me/telemetry", &[("ct", "50 60 110 112")]),
    ("/me/commands", &[OBSERVABLE, BOTH]),
    ("/me/twin", &[OBSERVABLE, BOTH]),
    ("/me/twin/desired", &[OBSERVABLE, BOTH]),
    ("/me/documents", &[]),
    ("/me/events", &[]),
];

/// What a request for it is answered with.
pub(super) fn show(request: &Request<'_>) -> Result<Answer, Answer> {
    if request.method() != Code::GET {
        return Err(not_allowed());
    }
    match request.accept {
        None | Some(ContentFormat::LINKS) => {
            Ok(Answer::content(ContentFormat::LINKS, written(request.queries())))
        }
        Some(_) => Err(Answer::error(Code::NOT_ACCEPTABLE, "accept 40")),
    }
}

/// The links that every part of the query lets through.
fn written<'a>(queries: impl Iterator<Item = &'a str> + Clone) -> String {
    let is_wanted = |link: &&Link| queries.clone().all(|query| is_let_through(link, query));
    let links: Vec<_> = LINKS.iter().filter(is_wanted).map(write).collect();
    links.join(",")
}

fn write((path, attributes): &Link) -> String {
    let attributes = attributes.iter().map(|(name, value)| {
        if value.is_empty() { format!(";{name}") } else { format!(";{name}=\"{value}\"") }
    });
    format!("<{path}>{}", attributes.collect::<String>())
}

/// RFC 6690 section 4.1: an attribute's name and one of its values, or with `*` how one begins.
fn is_let_through((path, attributes): &Link, query: &str) -> bool {
    let (name, wanted) = query.split_once('=').unwrap_or((query, ""));
    let is_match = |value: &str| match wanted.strip_suffix('*') {
        Some(begin) => value.starts_with(begin),
        None => value == wanted,
    };
    match name {
        // Not a filter but who asks.
        "token" => true,
        "href" => is_match(path),
        _ => attributes.iter().any(|(found, value)| *found == name && value.split(' ').any(is_match)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_filters_by_path_and_attributes() {
        let all = written([].into_iter());
        assert!(all.starts_with("</me/telemetry>;ct=\"50 60 110 112\",</me/commands>;obs;ct=\"50 60\","));
        let twins = "</me/twin>;obs;ct=\"50 60\",</me/twin/desired>;obs;ct=\"50 60\"";
        for (queries, expected) in [
            (&["token=abc"][..], all.as_str()),
            (&["href=/me/twin*"], twins),
            (&["href=/me/events"], "</me/events>"),
            (&["ct=110"], "</me/telemetry>;ct=\"50 60 110 112\""),
            (&["obs", "href=/me/twin*"], twins),
            (&["rt=light"], ""),
            (&["href=/me"], ""),
        ] {
            assert_eq!(written(queries.iter().copied()), expected, "{queries:?}");
        }
    }
}
