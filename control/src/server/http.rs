//! What is answered to which request.

use std::rc::Rc;

use config::CommandError;
use hyper::body::{Body, Bytes};
use hyper::header::{
    ALLOW, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::access::{Caller, Right};
use super::answer::AnswerBody;
use super::body;
use super::budget::Share;
use super::connections::{Phase, Seat};
use super::question::{self, Answered};
use super::{MAX_CONNECTIONS, Server};
use crate::accounts::Accounts;
use crate::execute::{LINES_AT_ONCE, LineResult, MAX_LINE};

/// Connections on which commands that change something may be at work at once: what is left is for
/// those who look.
const MAX_RUNNING: usize = 48;
/// Longest answer to a batch of lines, in bytes.
const MAX_BATCH_ANSWER: usize = 64 * 1024 * 1024;
/// Bytes of a line that are logged.
const LOGGED: usize = 1024;

pub(super) type Answer = Response<AnswerBody>;

/// One connection's side of the conversation.
pub(super) struct Exchange {
    pub(super) server: Rc<Server>,
    pub(super) caller: Caller,
    pub(super) seat: Seat,
    /// It is only told why it is not served.
    pub(super) refused: bool,
}

#[derive(Serialize)]
struct Results<'a> {
    results: &'a [LineResult],
}

impl Exchange {
    /// Answers one request.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut answer = self.decide(request).await;
        answer.body_mut().go_over(Rc::clone(&self.seat.place));
        answer
    }

    async fn decide<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let right = match self.caller.needs_token() {
            true => {
                let header = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
                self.server.access.of_header(header)
            }
            false => self.caller.right,
        };
        if right == Right::None {
            return self.stranger();
        }
        if self.refused {
            return too_many();
        }
        let path = request.uri().path().to_owned();
        let Some(path) = path.strip_prefix("/v1/").map(|path| path.trim_end_matches('/')) else {
            return refuse(StatusCode::NOT_FOUND, "paths start with /v1/");
        };
        if path == "cli" {
            return match *request.method() {
                Method::POST => self.cli(right, request).await,
                _ => not_allowed("POST"),
            };
        }
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return self.look(path, request).await;
        }
        let what = format!("{} /v1/{path}", request.method());
        if right != Right::Write {
            return self.read_only(&what);
        }
        let answer = match super::config::answer(self, path, request).await {
            Ok(answer) => answer,
            Err(request) => return self.look(path, request).await,
        };
        tracing::info!("{}: {what}: {}", self.caller, answer.status());
        answer
    }

    async fn look<B>(&self, path: &str, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let share = self.server.answers.share();
        if question::takes(path) {
            let query = request.uri().query().unwrap_or_default();
            let answer = match *request.method() {
                Method::GET => asked(question::answer(&self.server.shared, path, query).await),
                _ => not_allowed("GET"),
            };
            return self.hold(answer, share).await;
        }
        let request = match super::config::answer(self, path, request).await {
            Ok(answer) => return self.hold(answer, share).await,
            Err(request) => request,
        };
        let body = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.server.shared.with(|control| control.api(path))
        }));
        match (body, request.method()) {
            (Err(_), _) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal error"),
            (Ok(None), _) => refuse(StatusCode::NOT_FOUND, &format!("there is no /v1/{path}")),
            (Ok(Some(body)), &Method::GET) => {
                self.hold(json_answer(StatusCode::OK, body), share).await
            }
            (Ok(Some(_)), _) => not_allowed("GET"),
        }
    }

    async fn cli<B>(&self, right: Right, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let atomic = match request.uri().query() {
            None | Some("" | "atomic=false") => false,
            Some("atomic=true") => true,
            Some(query) => {
                let reason = format!("unknown query {query}: atomic=true is the only one");
                return refuse(StatusCode::BAD_REQUEST, &reason);
            }
        };
        let (lines, _share) = match self.body_of(request).await {
            Ok(taken) => taken,
            Err(answer) => return answer,
        };
        let full = self.seat.running() > MAX_RUNNING;
        if (full || right != Right::Write)
            && let Some(line) = first_change(&lines).await
        {
            if right != Right::Write {
                return self.read_only(&shorten(line));
            }
            let reason = format!("{MAX_RUNNING} commands are being run; try again later");
            return refuse(StatusCode::SERVICE_UNAVAILABLE, &reason);
        }
        self.run(&lines, atomic).await
    }

    /// The text that a request brings and the memory that it takes, or the answer that it is not
    /// taken. A command is being run from then on.
    pub(super) async fn body_of<B>(&self, request: Request<B>) -> Result<(String, Share), Answer>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let place = &self.seat.place;
        place.enter(Phase::Asking);
        let mut share = self.server.bodies.share();
        match body::text(request.into_body(), &mut share).await {
            Ok(text) => {
                place.enter(Phase::Running);
                Ok((text, share))
            }
            Err((status, reason)) => Err(refuse(status, &reason)),
        }
    }

    async fn run(&self, lines: &str, atomic: bool) -> Answer {
        let mut share = self.server.answers.share();
        let mut left = MAX_BATCH_ANSWER;
        let mut room = |bytes: usize| {
            left = left.saturating_sub(bytes);
            left > 0 && share.grow(bytes)
        };
        let shared = &self.server.shared;
        let results = match atomic {
            true => shared.atomic_batch(lines, &mut room).await,
            false => shared.batch(lines, &mut room).await,
        };
        self.log(&results);
        let ok = results.iter().all(|result| result.ok);
        let status = if ok { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        let mut text = match serde_json::to_string(&Results { results: &results }) {
            Ok(text) => text,
            Err(error) => {
                return refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string());
            }
        };
        drop(results);
        text.push('\n');
        // From now on by its real length.
        drop(share);
        self.hold(json_answer(status, text), self.server.answers.share()).await
    }

    /// Says in the log who has changed what, or tried to.
    fn log(&self, results: &[LineResult]) {
        for result in results.iter().filter(|result| changes(&result.line)) {
            let line = shorten(&result.line);
            match &result.error {
                None => tracing::info!("{}: {line}", self.caller),
                Some(error) => {
                    tracing::info!("{}: {line}: refused: {}", self.caller, shorten(&error.reason));
                }
            }
        }
    }

    /// Counts an answer among those that have not been taken. When there is no room for it, clients
    /// that have been taking theirs for long lose it.
    async fn hold(&self, mut answer: Answer, mut share: Share) -> Answer {
        while !share.grow(answer.body().len()) {
            if !self.seat.close_one_that_answers() {
                let reason = "answers that others have not taken fill the memory; try again later";
                return refuse(StatusCode::SERVICE_UNAVAILABLE, reason);
            }
            // The other connection's task ends, and gives its memory back.
            tokio::task::yield_now().await;
        }
        answer.body_mut().hold(share);
        answer
    }

    fn stranger(&self) -> Answer {
        if self.caller.needs_token() {
            tracing::debug!("{}: no valid token", self.caller);
            let mut answer =
                refuse(StatusCode::UNAUTHORIZED, "a token is needed: Authorization: Bearer TOKEN");
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return answer;
        }
        let reason = format!("{} may not use this daemon", self.caller);
        refuse(StatusCode::FORBIDDEN, &reason)
    }

    fn read_only(&self, what: &str) -> Answer {
        tracing::info!("{}: {what}: refused: it may only read", self.caller);
        let who = self.server.access.who_may_change(&Accounts::here());
        let reason = format!("`{what}` is not for {}, who may only read; {who}", self.caller);
        refuse(StatusCode::FORBIDDEN, &reason)
    }
}

fn asked(answered: Option<Answered>) -> Answer {
    match answered {
        Some(Ok(body)) => json_answer(StatusCode::OK, body),
        Some(Err((status, CommandError { token, reason, hint, .. }))) => {
            let error = json!({ "token": token, "reason": reason, "hint": hint });
            json_answer(status, format!("{}\n", json!({ "error": error })))
        }
        None => refuse(StatusCode::NOT_FOUND, "there is no such path"),
    }
}

/// The first line that does something.
async fn first_change(lines: &str) -> Option<&str> {
    for (number, line) in lines.lines().enumerate() {
        if number % LINES_AT_ONCE == LINES_AT_ONCE - 1 {
            // Others want to be served too.
            tokio::task::yield_now().await;
        }
        if changes(line) {
            return Some(line);
        }
    }
    None
}

/// Is this a line that does something? One that is not understood does nothing.
fn changes(line: &str) -> bool {
    line.len() <= MAX_LINE && config::parse(line).is_ok_and(|command| !command.only_reads())
}

/// The beginning of a line, without what a terminal would take for a command.
fn shorten(line: &str) -> String {
    let mut text: String =
        line.chars().take(LOGGED).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.len() < line.len() {
        text.push('…');
    }
    text
}

/// The answer when too many clients are connected.
fn too_many() -> Answer {
    let reason =
        format!("{MAX_CONNECTIONS} clients are at work, which is the limit; try again later");
    let mut answer = refuse(StatusCode::SERVICE_UNAVAILABLE, &reason);
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

pub(super) fn not_allowed(allowed: &'static str) -> Answer {
    let reason = format!("only {allowed} is allowed here");
    let mut answer = refuse(StatusCode::METHOD_NOT_ALLOWED, &reason);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

pub(super) fn refuse(status: StatusCode, reason: &str) -> Answer {
    json_answer(status, format!("{}\n", json!({ "error": { "reason": reason } })))
}

pub(super) fn text_answer(body: String) -> Answer {
    let mut answer = Response::new(AnswerBody::new(body));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, text);
    answer
}

pub(super) fn json_answer(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(AnswerBody::new(body));
    *answer.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}
