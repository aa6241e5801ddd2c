//! `/v1/config`: the configuration as a whole, as TOML.

use hyper::body::{Body, Bytes};
use hyper::header::ACCEPT;
use hyper::{Method, Request, StatusCode};
use serde_json::json;

use super::http::{Answer, Exchange, json_answer, not_allowed, refuse, text_answer};
use crate::control::Control;
use crate::execute::{Refusal, Shared};
use crate::reload::Source;

/// What a `PUT` is asked to do.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    confirm_s: Option<u32>,
    dry_run: bool,
}

impl Wish {
    /// Reads the query of a request.
    fn read(query: &str) -> Result<Self, String> {
        let mut wish = Self::default();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=').unwrap_or((part, "")) {
                ("dry-run", "true") => wish.dry_run = true,
                ("dry-run", "false") => wish.dry_run = false,
                ("confirm", seconds) => {
                    let range = config::defaults::CONFIRM_S_RANGE;
                    let seconds = seconds.parse().ok().filter(|s| range.contains(s));
                    let (least, most) = (range.start(), range.end());
                    wish.confirm_s =
                        Some(seconds.ok_or(format!("confirm takes {least} to {most} seconds"))?);
                }
                _ => {
                    return Err(format!(
                        "unknown query {part}: there are confirm=<seconds> and dry-run=true"
                    ));
                }
            }
        }
        match wish {
            Wish { dry_run: true, confirm_s: Some(_) } => {
                Err("a dry run has nothing to confirm".to_owned())
            }
            wish => Ok(wish),
        }
    }
}

/// Answers a request for `/v1/config` or below, `None` when it is the JSON of the running
/// configuration that is asked for.
pub(super) async fn answer<B>(
    exchange: &Exchange,
    path: &str,
    request: Request<B>,
) -> Result<Answer, Request<B>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let shared = &exchange.server.shared;
    Ok(match (path, request.method().clone()) {
        ("config", Method::PUT) => put(exchange, request).await,
        ("config", Method::GET) if wants_text(&request) => match shared.saved().await {
            Ok(text) => text_answer(text),
            Err(problem) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &problem.reason),
        },
        ("config", Method::GET) => return Err(request),
        ("config", _) => not_allowed("GET, PUT"),
        ("config/confirm", Method::POST) => settled(shared, Control::confirm_reload).await,
        ("config/cancel", Method::POST) => settled(shared, Control::cancel_reload).await,
        ("config/confirm" | "config/cancel", _) => not_allowed("POST"),
        _ => return Err(request),
    })
}

/// Whether the client asks for text rather than JSON.
fn wants_text<B>(request: &Request<B>) -> bool {
    let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let types = accepted.flat_map(|value| value.split(','));
    types
        .map(|kind| kind.split(';').next().unwrap_or_default().trim())
        .any(|kind| matches!(kind, "text/plain" | "application/toml"))
}

async fn put<B>(exchange: &Exchange, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes> + Unpin,
{
    let shared = &exchange.server.shared;
    let wish = match Wish::read(request.uri().query().unwrap_or_default()) {
        Ok(wish) => wish,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, &reason),
    };
    let (text, _share) = match exchange.body_of(request).await {
        Ok(taken) => taken,
        Err(answer) => return answer,
    };
    let source = Source::Text(text);
    let done = match wish.dry_run {
        true => shared.diff(source).await.map(|diff| json!(diff)),
        false => {
            shared.reload_and_settle(source, wish.confirm_s).await.map(|reloaded| json!(reloaded))
        }
    };
    match done {
        Ok(body) => json_answer(StatusCode::OK, format!("{body}\n")),
        Err(Refusal::Problem(problem)) => conflict(&problem),
        Err(Refusal::Mistakes(mistakes)) => {
            let error = json!({ "reason": mistakes.summary(), "mistakes": mistakes.list() });
            let body = format!("{}\n", json!({ "error": error }));
            json_answer(StatusCode::UNPROCESSABLE_ENTITY, body)
        }
    }
}

/// The answer to what is right, but not now.
fn conflict(problem: &config::Problem) -> Answer {
    let error = json!({ "reason": problem.reason, "hint": problem.hint });
    json_answer(StatusCode::CONFLICT, format!("{}\n", json!({ "error": error })))
}

async fn settled(
    shared: &Shared,
    what: impl FnOnce(&mut Control) -> Result<String, config::Problem>,
) -> Answer {
    match shared.carry_out(what).await {
        Ok(output) => json_answer(StatusCode::OK, format!("{}\n", json!({ "output": output }))),
        Err(problem) => conflict(&problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_say_what_is_wanted() {
        assert_eq!(Wish::read(""), Ok(Wish::default()));
        let wish = Wish::read("confirm=60&dry-run=false");
        assert_eq!(wish, Ok(Wish { confirm_s: Some(60), dry_run: false }));
        assert_eq!(Wish::read("dry-run=true"), Ok(Wish { confirm_s: None, dry_run: true }));
        for wrong in
            ["confirm", "confirm=0", "confirm=x", "dry-run=1", "dry-run=true&confirm=9", "y=1"]
        {
            assert!(Wish::read(wrong).is_err(), "{wrong}");
        }
    }
}
