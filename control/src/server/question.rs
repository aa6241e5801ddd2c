//! `GET` with a query that says what is wanted: `/v1/lb/flows?…` and `/v1/lb/drain?…`.
//!
//! A query is read as the words of a command, so that both judge alike.

use config::{Command, CommandError, Problem, Show, Span};
use hyper::StatusCode;

use crate::execute::Shared;
use crate::show::to_json;

/// Keys of `/v1/lb/flows`.
const FLOWS: &[&str] = &["vip", "protocol", "port", "as", "client", "limit", "cursor"];
/// Keys of `/v1/lb/drain`.
const DRAIN: &[&str] = &["vip", "protocol", "port", "as"];

/// The status and body of an answer.
pub(super) type Answered = Result<String, (StatusCode, CommandError)>;

/// Whether a path takes a query.
pub(super) fn takes(path: &str) -> bool {
    matches!(path, "lb/flows" | "lb/drain")
}

/// Answers; `None` when the path takes no query.
pub(super) async fn answer(shared: &Shared, path: &str, query: &str) -> Option<Answered> {
    Some(match path {
        "lb/flows" => flows(shared, query).await,
        "lb/drain" => drain(shared, query),
        _ => return None,
    })
}

/// A question that makes no sense, in the words of this line.
fn bad(line: &str) -> impl Fn(Problem) -> (StatusCode, CommandError) {
    move |problem| (StatusCode::BAD_REQUEST, problem.in_line(line))
}

/// A question about what is not there.
fn unknown(line: &str) -> impl Fn(Problem) -> (StatusCode, CommandError) {
    move |problem| (StatusCode::NOT_FOUND, problem.in_line(line))
}

async fn flows(shared: &Shared, query: &str) -> Answered {
    let pairs = pairs(query, FLOWS).map_err(bad(""))?;
    let words: Vec<_> = pairs.iter().map(|(key, value)| format!(" {key} {value}")).collect();
    let line = format!("show lb flows{}", words.concat());
    match config::parse(&line).map_err(bad(&line))? {
        Command::Show { show: Show::LbFlows(query), .. } => {
            let flows = shared.flows(&query).await.map_err(unknown(&line))?;
            Ok(to_json(&flows))
        }
        _ => Err(bad(&line)(Problem::new(Span::default(), "the query is none for flows"))),
    }
}

fn drain(shared: &Shared, query: &str) -> Answered {
    let pairs = pairs(query, DRAIN).map_err(bad(""))?;
    let word = |wanted: &str, keyword: &str| {
        let found = pairs.iter().find(|(key, _)| *key == wanted);
        found.map(|(_, value)| format!(" {keyword}{value}")).unwrap_or_default()
    };
    let line = format!(
        "wait drained{}{}{}{}",
        word("vip", ""),
        word("protocol", "protocol "),
        word("port", "port "),
        word("as", "")
    );
    match config::parse(&line).map_err(bad(&line))? {
        Command::WaitDrained(wait) => {
            let status = shared.with(|control| control.drain_status(&wait.vip, &wait.server));
            status.map(|status| to_json(&status)).map_err(unknown(&line))
        }
        _ => Err(bad(&line)(Problem::new(Span::default(), "the query names no VIP and AS"))),
    }
}

/// The keys and decoded values of a query.
fn pairs(query: &str, keys: &[&'static str]) -> Result<Vec<(&'static str, String)>, Problem> {
    let problem = |reason: String| Problem::new(Span::default(), reason);
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(key) = keys.iter().find(|key| **key == name) else {
            return Err(problem(format!("unknown key {name} in the query"))
                .with_hint(format!("the keys are {}", keys.join(", "))));
        };
        let value = decoded(value).filter(|value| {
            let other = |c: char| c.is_whitespace() || c.is_control() || "#?".contains(c);
            !value.is_empty() && !value.contains(other)
        });
        let Some(value) = value else {
            return Err(problem(format!("the value of {name} in the query is not one word")));
        };
        pairs.push((*key, value));
    }
    Ok(pairs)
}

/// Undoes percent-encoding (RFC 3986, 2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| hex)?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_taken_apart() {
        let pairs = |query| pairs(query, FLOWS).map_err(|problem| problem.reason);
        assert_eq!(
            pairs("vip=10.0.0.0%2F8&&port=80&as=2001:db8::1"),
            Ok(vec![
                ("vip", "10.0.0.0/8".to_owned()),
                ("port", "80".to_owned()),
                ("as", "2001:db8::1".to_owned())
            ])
        );
        assert_eq!(pairs(""), Ok(Vec::new()));
        assert_eq!(pairs("vips=1").unwrap_err(), "unknown key vips in the query");
        for bad in ["as", "as=", "as=%2", "as=%zz", "as=%+1", "as=a%20b", "as=%00", "as=%ff"] {
            let reason = pairs(bad).unwrap_err();
            assert_eq!(reason, "the value of as in the query is not one word", "{bad}");
        }
    }
}
