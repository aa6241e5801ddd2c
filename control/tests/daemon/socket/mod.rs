//! The daemon's socket, with real clients and no data plane.

mod answers;
mod entrances;
mod limits;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use control::execute::Shared;
use control::server::{self, Socket};
use testkit::http_request::HttpRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::LocalSet;

use crate::bench::Bench;

/// A folder of this test's own, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sluice-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn socket(&self) -> PathBuf {
        self.0.join("cli.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Serves a box on a socket of its own while `client` runs, its workers turning meanwhile.
pub(crate) fn with_server<F: Future<Output = ()>>(name: &str, client: impl FnOnce(PathBuf) -> F) {
    let folder = Folder::new(name);
    let path = folder.socket();
    let bench = Bench::walkthrough();
    let Bench { mut control, mut workers, .. } = bench;
    let fixed = config::Startup::parse(crate::reload::FIXED).unwrap().fixed;
    let file = "/nonexistent.toml".into();
    control.set_started(control::reload::Started { file, fixed, cpus: vec![0, 1] });
    let shared = Shared::new(control.take());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let socket = Socket::bind(&path).unwrap();
        let pump = shared.clone();
        tokio::task::spawn_local(async move {
            loop {
                workers.iter_mut().for_each(|worker| {
                    worker.turn();
                });
                pump.with(control::control::Control::pump);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        tokio::select! {
            never = server::serve(&socket, &shared) => match never {},
            () = client(path.clone()) => {}
        }
    });
    assert!(!path.exists(), "the socket is left behind");
}

/// Sends one request and gives status and body.
async fn request(path: &PathBuf, method: &str, target: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(path).await.unwrap();
    let head = HttpRequest::new(method, target, body).last().head();
    stream.write_all(&head).await.unwrap();
    // A refusal may come before the body was taken.
    let _ = stream.write_all(body.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(crate) async fn cli(path: &PathBuf, lines: &str, atomic: bool) -> (u16, serde_json::Value) {
    let target = if atomic { "/v1/cli?atomic=true" } else { "/v1/cli" };
    let (status, body) = request(path, "POST", target, lines).await;
    (status, serde_json::from_str(&body).unwrap())
}
