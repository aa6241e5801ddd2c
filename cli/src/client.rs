//! HTTP over the daemon's unix socket.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::CommandError;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

/// The daemon's answer to one command line.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    /// Was the command carried out?
    pub(crate) ok: bool,
    /// What it printed.
    #[serde(default)]
    pub(crate) output: String,
    /// Why it was not.
    #[serde(default)]
    pub(crate) error: Option<CommandError>,
}

#[derive(Deserialize)]
struct Answers {
    results: Vec<Answer>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(
        "no daemon is listening on {}: start sluiced or name its socket with -s",
        .0.display()
    )]
    NotListening(PathBuf),
    #[error("no permission to use {}: run as root or join the socket's group", .0.display())]
    Forbidden(PathBuf),
    #[error("{}: {source}", .socket.display())]
    Connect { socket: PathBuf, source: io::Error },
    #[error("the daemon on {} went away: {source}", .socket.display())]
    Http { socket: PathBuf, source: hyper::Error },
    #[error("{} answers, but not as Sluice does: {detail}", .socket.display())]
    NotSluice { socket: PathBuf, detail: String },
    #[error("no runtime: {0}")]
    Runtime(#[from] io::Error),
    #[error("interrupted")]
    Interrupted,
}

/// The body of an answer that is an error.
#[derive(Deserialize)]
struct Refusal {
    error: Refused,
}

#[derive(Deserialize)]
struct Refused {
    reason: String,
    #[serde(default)]
    hint: Option<String>,
    #[serde(default)]
    token: String,
}

/// A way to ask the daemon. Every request is a connection of its own, so that a restarted daemon
/// is found again.
pub(crate) struct Client {
    socket: PathBuf,
    runtime: Runtime,
    /// Ctrl-C ends the command only.
    interruptible: Cell<bool>,
}

impl Client {
    /// A client of the daemon on `socket`; nothing is sent yet.
    pub(crate) fn new(socket: &Path) -> Result<Client, ClientError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Client { socket: socket.to_owned(), runtime, interruptible: Cell::new(false) })
    }

    /// From now on Ctrl-C ends what is being done with [`ClientError::Interrupted`], and not the
    /// process.
    pub(crate) fn end_on_interrupt(&self) {
        self.interruptible.set(true);
    }

    fn carry_out<T>(
        &self,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        self.runtime.block_on(async {
            if !self.interruptible.get() {
                return work.await;
            }
            tokio::select! {
                done = work => done,
                _ = tokio::signal::ctrl_c() => Err(ClientError::Interrupted),
            }
        })
    }

    /// Lets time pass.
    pub(crate) fn rest(&self, time: Duration) -> Result<(), ClientError> {
        self.carry_out(async {
            tokio::time::sleep(time).await;
            Ok(())
        })
    }

    /// Runs one command line.
    pub(crate) fn run(&self, line: &str) -> Result<Vec<Answer>, ClientError> {
        let (status, body) = self.carry_out(self.request(Method::POST, "/v1/cli", line))?;
        if !matches!(status, StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY) {
            let body = String::from_utf8_lossy(&body);
            return Err(self.not_sluice(format!("{status} {}", body.trim())));
        }
        let answers: Answers =
            serde_json::from_slice(&body).map_err(|e| self.not_sluice(e.to_string()))?;
        Ok(answers.results)
    }

    /// The JSON body of a `GET`.
    pub(crate) fn get(&self, path: &str) -> Result<serde_json::Value, ClientError> {
        match self.ask(path)? {
            Ok(body) => Ok(body),
            Err(error) => Err(self.not_sluice(error.to_string())),
        }
    }

    /// The JSON body of a `GET`, or why it is refused; the column of the error means nothing.
    pub(crate) fn ask(
        &self,
        path: &str,
    ) -> Result<Result<serde_json::Value, CommandError>, ClientError> {
        let (status, body) = self.carry_out(self.request(Method::GET, path, ""))?;
        let not_sluice = |e: serde_json::Error| self.not_sluice(format!("{status}: {e}"));
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map(Ok).map_err(not_sluice);
        }
        let Refused { reason, hint, token } =
            serde_json::from_slice::<Refusal>(&body).map_err(not_sluice)?.error;
        Ok(Err(CommandError { token, column: 1, reason, hint }))
    }

    fn not_sluice(&self, detail: String) -> ClientError {
        ClientError::NotSluice { socket: self.socket.clone(), detail }
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let http = |source| ClientError::Http { socket: self.socket.clone(), source };
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| self.refused(e))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
        // Its errors come back from `send_request` as well.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "text/plain")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .map_err(|e| self.not_sluice(e.to_string()))?;
        let response = sender.send_request(request).await.map_err(http)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(http)?;
        Ok((status, body.to_bytes()))
    }

    fn refused(&self, source: io::Error) -> ClientError {
        let socket = self.socket.clone();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotListening(socket)
            }
            io::ErrorKind::PermissionDenied => ClientError::Forbidden(socket),
            _ => ClientError::Connect { socket, source },
        }
    }
}
