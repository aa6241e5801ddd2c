//! What is answered to which request.

use std::time::Duration;

use config::CommandError;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::question;
use crate::execute::Shared;

/// Longest body of a request, in bytes: as long as a command file may be.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// Time a client has for the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) type Answer = Response<Full<Bytes>>;

/// Answers one request.
pub(super) async fn answer<B>(shared: &Shared, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let path = request.uri().path().to_owned();
    let Some(path) = path.strip_prefix("/v1/").map(|path| path.trim_end_matches('/')) else {
        return refuse(StatusCode::NOT_FOUND, "paths start with /v1/");
    };
    if path == "cli" {
        return match *request.method() {
            Method::POST => cli(shared, request).await,
            _ => not_allowed("POST"),
        };
    }
    if question::takes(path) {
        let query = request.uri().query().unwrap_or_default();
        return match *request.method() {
            Method::GET => asked(question::answer(shared, path, query).await),
            _ => not_allowed("GET"),
        };
    }
    let request = match super::config::answer(shared, path, request).await {
        Ok(answer) => return answer,
        Err(request) => request,
    };
    let body = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        shared.with(|control| control.api(path))
    }));
    match (body, request.method()) {
        (Err(_), _) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal error"),
        (Ok(None), _) => refuse(StatusCode::NOT_FOUND, &format!("there is no /v1/{path}")),
        (Ok(Some(body)), &Method::GET) => json_answer(StatusCode::OK, body),
        (Ok(Some(_)), _) => not_allowed("GET"),
    }
}

fn asked(answered: Option<question::Answered>) -> Answer {
    match answered {
        Some(Ok(body)) => json_answer(StatusCode::OK, body),
        Some(Err((status, CommandError { token, reason, hint, .. }))) => {
            let error = json!({ "token": token, "reason": reason, "hint": hint });
            json_answer(status, format!("{}\n", json!({ "error": error })))
        }
        None => refuse(StatusCode::NOT_FOUND, "there is no such path"),
    }
}

async fn cli<B>(shared: &Shared, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let atomic = match request.uri().query() {
        None | Some("" | "atomic=false") => false,
        Some("atomic=true") => true,
        Some(query) => {
            let reason = format!("unknown query {query}: atomic=true is the only one");
            return refuse(StatusCode::BAD_REQUEST, &reason);
        }
    };
    let lines = match body_of(request).await {
        Ok(lines) => lines,
        Err(answer) => return answer,
    };
    let results = match atomic {
        true => shared.atomic_batch(&lines).await,
        false => shared.batch(&lines).await,
    };
    let status = match results.iter().all(|result| result.ok) {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    json_answer(status, format!("{}\n", json!({ "results": results })))
}

/// The text that a request brings, or the answer that it is not taken.
pub(super) async fn body_of<B>(request: Request<B>) -> Result<String, Answer>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let reason = format!("a body has at most {MAX_BODY} bytes");
            return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, &reason));
        }
        Ok(Err(_)) => return Err(refuse(StatusCode::BAD_REQUEST, "the body could not be read")),
        Err(_) => return Err(refuse(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    };
    String::from_utf8(body.into())
        .map_err(|_| refuse(StatusCode::BAD_REQUEST, "the body is not UTF-8"))
}

/// The answer when too many clients are connected.
pub(super) fn too_many(limit: usize) -> Answer {
    let reason = format!("{limit} clients are connected, which is the limit; try again later");
    let mut answer = refuse(StatusCode::SERVICE_UNAVAILABLE, &reason);
    answer.headers_mut().insert(CONNECTION, hyper::header::HeaderValue::from_static("close"));
    answer
}

pub(super) fn not_allowed(allowed: &'static str) -> Answer {
    let reason = format!("only {allowed} is allowed here");
    let mut answer = refuse(StatusCode::METHOD_NOT_ALLOWED, &reason);
    answer.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static(allowed));
    answer
}

pub(super) fn refuse(status: StatusCode, reason: &str) -> Answer {
    json_answer(status, format!("{}\n", json!({ "error": { "reason": reason } })))
}

pub(super) fn text_answer(body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    let text = hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, text);
    answer
}

pub(super) fn json_answer(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}
