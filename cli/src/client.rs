//! HTTP over the daemon's UNIX socket, or over TCP with a token.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use config::CommandError;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
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

/// Where the daemon is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Its UNIX socket.
    Socket(PathBuf),
    /// Its TCP listener.
    Tcp {
        /// Address, or name, and port.
        address: String,
        /// The `Authorization` header, if there is a token.
        authorization: Option<HeaderValue>,
    },
}

impl Place {
    /// The TCP listener of a URL such as `http://127.0.0.1:8080`, with the token in a file.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL or the file, without the token.
    pub(crate) fn of_url(url: &str, token_file: Option<&PathBuf>) -> Result<Place, String> {
        let address = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let address = address.filter(|address| !address.contains('/') && address.contains(':'));
        let Some(address) = address else {
            return Err(format!("{url} is not a URL such as http://127.0.0.1:8080"));
        };
        let authorization = token_file.map(|file| {
            let token = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
            let value = HeaderValue::try_from(format!("Bearer {}", token.trim()));
            let mut value = value.map_err(|_| "a token is one line of text".to_owned())?;
            value.set_sensitive(true);
            Ok(value)
        });
        let named = |(error, file): (String, &PathBuf)| format!("{}: {error}", file.display());
        let authorization = match (authorization, token_file) {
            (Some(Err(error)), Some(file)) => return Err(named((error, file))),
            (Some(Ok(value)), _) => Some(value),
            _ => None,
        };
        Ok(Place::Tcp { address: address.to_owned(), authorization })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Socket(path) => write!(f, "{}", path.display()),
            Place::Tcp { address, .. } => f.write_str(address),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("no daemon is listening on {0}: start sluiced or name its socket with -s")]
    NotListening(Place),
    #[error("no permission to use {0}: run as root or join the socket's group")]
    Forbidden(Place),
    #[error("{place}: {source}")]
    Connect { place: Place, source: io::Error },
    #[error("the daemon on {place} went away: {source}")]
    Http { place: Place, source: hyper::Error },
    #[error("{place} answers, but not as Sluice does: {detail}")]
    NotSluice { place: Place, detail: String },
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
    place: Place,
    runtime: Runtime,
    /// Ctrl-C ends the command only.
    interruptible: Cell<bool>,
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Client {
    /// A client of the daemon at `place`; nothing is sent yet.
    pub(crate) fn new(place: Place) -> Result<Client, ClientError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Client { place, runtime, interruptible: Cell::new(false) })
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
            if let Ok(Refusal { error: Refused { reason, hint, .. } }) =
                serde_json::from_slice(&body)
            {
                let (token, column) = (line.trim().to_owned(), 1);
                let error = CommandError { token, column, reason, hint };
                return Ok(vec![Answer { ok: false, output: String::new(), error: Some(error) }]);
            }
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
        ClientError::NotSluice { place: self.place.clone(), detail }
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let http = |source| ClientError::Http { place: self.place.clone(), source };
        let stream = self.connect().await.map_err(|e| self.refused(e))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
        // Its errors come back from `send_request` as well.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "text/plain");
        if let Place::Tcp { authorization: Some(value), .. } = &self.place {
            request = request.header(AUTHORIZATION, value.clone());
        }
        let request = request
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .map_err(|e| self.not_sluice(e.to_string()))?;
        let response = sender.send_request(request).await.map_err(http)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(http)?;
        Ok((status, body.to_bytes()))
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match &self.place {
            Place::Socket(path) => Box::new(UnixStream::connect(path).await?),
            Place::Tcp { address, .. } => Box::new(TcpStream::connect(address).await?),
        })
    }

    fn refused(&self, source: io::Error) -> ClientError {
        let place = self.place.clone();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotListening(place)
            }
            io::ErrorKind::PermissionDenied => ClientError::Forbidden(place),
            _ => ClientError::Connect { place, source },
        }
    }
}
