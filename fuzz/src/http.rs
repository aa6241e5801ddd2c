//! The daemon's socket, with real control behind it: any bytes from a client get an answer or the end
//! of the connection, never an internal error, and control goes on.

#[allow(unreachable_pub, dead_code)]
#[path = "../../control/tests/daemon/bench.rs"]
mod bench;

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use control::execute::Shared;
use control::server::{self, Socket};
use testkit::http_request::HttpRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use bench::Bench;

/// A box is used for so many inputs, as they change it.
const INPUTS: usize = 64;
/// Far longer than any answer takes.
const DEADLINE: Duration = Duration::from_secs(60);
/// Longer inputs are left to tests of the socket.
const LONGEST: usize = 1 << 16;

/// Commands that wait for somebody, read or write files, or change more than control.
const OUTSIDE: [&str; 7] = ["exec", "save", "reload", "diff", "ping", "lb conf", "wait"];

/// A box that answers on a socket.
struct Server {
    runtime: Runtime,
    local: LocalSet,
    path: PathBuf,
    left: usize,
}

impl Server {
    fn start() -> Self {
        let name = format!("sluice-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let local = LocalSet::new();
        let Bench { control, .. } = Bench::walkthrough();
        let shared = Shared::new(control.take());
        let (at, _context) = (path.clone(), runtime.enter());
        local.spawn_local(async move {
            let socket = Socket::bind(&at).expect("a socket below the temporary folder");
            match server::serve(&socket, &shared).await {}
        });
        drop(_context);
        Self { runtime, local, path, left: INPUTS }
    }

    /// What comes back for some bytes, until the end of the connection.
    fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.left -= 1;
        self.local.block_on(&self.runtime, async {
            while !self.path.exists() {
                tokio::task::yield_now().await;
            }
            let exchange = async {
                let mut stream = UnixStream::connect(&self.path).await.expect("it listens");
                // A refusal may come before everything was taken.
                let _ = stream.write_all(bytes).await;
                let _ = stream.shutdown().await;
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer).await;
                answer
            };
            tokio::time::timeout(DEADLINE, exchange).await.expect("an answer or an end")
        })
    }
}

/// A [`Server`] on a thread of its own, where its runtime can end in peace.
struct Remote {
    to: Option<Sender<Vec<u8>>>,
    from: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<()>>,
}

impl Remote {
    fn start() -> Self {
        let (to, inputs) = std::sync::mpsc::channel::<Vec<u8>>();
        let (answers, from) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut server = Server::start();
            for bytes in inputs {
                if server.left == 0 {
                    drop(server);
                    server = Server::start();
                }
                let _ = answers.send(server.answer(&bytes));
            }
        });
        Self { to: Some(to), from, thread: Some(thread) }
    }

    fn answer(&self, bytes: &[u8]) -> Vec<u8> {
        let sent = self.to.as_ref().and_then(|to| to.send(bytes.to_vec()).ok());
        sent.and_then(|()| self.from.recv().ok()).expect("the server is alive")
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.to = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

thread_local! {
    static SERVER: RefCell<Option<Remote>> = const { RefCell::new(None) };
}

fn request(method: &str, target: &str, body: &str) -> Vec<u8> {
    HttpRequest::new(method, target, body).bytes()
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let paths = [
        "version",
        "threads",
        "runtime",
        "errors",
        "buffers",
        "interfaces",
        "addresses",
        "hardware",
        "neighbors",
        "fib/ip4",
        "trace",
        "config",
        "lb",
        "lb/vips",
        "lb/as",
        "balance",
        "nothing",
        "lb/flow/10.10.10.1/4000/10.10.2.2/8080/tcp",
    ];
    let shown = paths.map(|path| request("GET", &format!("/v1/{path}"), ""));
    let file = "[lb]\nbuckets = 2048\n\n[[vip]]\nprefix = \"20.20.20.1/32\"\nencap = \"gre4\"\n";
    let lines = "lb vip 20.20.20.1/32 encap gre4\nlb as 20.20.20.1/32 192.168.1.9\nshow lb vips\n";
    let others = [
        request("PUT", "/v1/config", file),
        request("PUT", "/v1/config", "[[vip]]\nprefix = 7\n"),
        request("POST", "/v1/cli", lines),
        request("POST", "/v1/cli?atomic=true", lines),
        request("DELETE", "/v1/lb", ""),
        b"GET /v1/lb HTTP/1.0\r\n\r\n".to_vec(),
        b"POST /v1/cli HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\nshow".to_vec(),
        [request("GET", "/v1/lb", ""), request("GET", "/v1/version", "")].concat(),
    ];
    shown.into_iter().chain(others).collect()
}

/// Whether the bytes may ask for something outside of control; then they are not sent. A body in
/// chunks could hide it.
fn leaves_control(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let parts = text.split(['\n', '\r', ';']);
    let asks = |line: &str| {
        config::parse_line(line.trim())
            .is_ok_and(|command| OUTSIDE.iter().any(|word| command.to_string().starts_with(word)))
    };
    text.contains("chunked")
        || ["exec", "hash-key", "/v1/reload", "/v1/save", "/v1/diff"]
            .iter()
            .any(|word| text.contains(word))
        || parts.into_iter().any(asks)
}

pub(crate) fn run(bytes: &[u8]) {
    if bytes.len() > LONGEST || leaves_control(bytes) {
        return;
    }
    SERVER.with_borrow_mut(|server| {
        let answer = server.get_or_insert_with(Remote::start).answer(bytes);
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1."), "{text}");
        assert!(!text.starts_with("HTTP/1.1 500") && !text.contains("internal error"), "{text}");
    });
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
