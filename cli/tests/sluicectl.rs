//! The binary against a small HTTP server on a unix socket.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

/// A directory of this test's own, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sluice-{}-cli-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("cli.sock")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Parses like the daemon; carries out `show …`, refuses the rest as unknown VIPs.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/v1/cli"));
    assert_eq!(request.headers()["content-type"], "text/plain");
    let body = request.into_body().collect().await?.to_bytes();
    let mut status = StatusCode::OK;
    let mut results = Vec::new();
    for line in String::from_utf8_lossy(&body).lines() {
        let error = match config::parse(line) {
            Ok(config::Command::Show { .. }) => None,
            Ok(config::Command::LbAs(servers)) => {
                let span = servers.vip.prefix.span;
                let problem = config::Problem::new(span, "no such VIP").with_hint("there is 10.1");
                Some(problem.in_line(line))
            }
            Ok(_) => unreachable!("not used here"),
            Err(problem) => Some(problem.in_line(line)),
        };
        let ok = error.is_none();
        let output = if ok { format!("{line}: shown") } else { String::new() };
        if !ok {
            status = StatusCode::UNPROCESSABLE_ENTITY;
        }
        results.push(serde_json::json!({"line": line, "ok": ok, "output": output, "error": error}));
    }
    let body = serde_json::json!({ "results": results }).to_string();
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    Ok(response)
}

/// Serves `socket` for as long as the test process lives.
fn serve(socket: &Path) {
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::UnixListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            }
        });
    });
}

fn sluicectl(socket: &Path, words: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluicectl"))
        .arg("-s")
        .arg(socket)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn one_command_and_its_output() {
    let directory = Directory::new();
    serve(&directory.socket());
    let output = sluicectl(&directory.socket(), &["show", "lb", "vips"], "");
    assert_eq!(text(&output.stdout), "show lb vips: shown\n");
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_error_is_shown_under_its_word() {
    let directory = Directory::new();
    serve(&directory.socket());
    let words = ["lb", "as", "10.10.2.2/32", "protocol", "tcp", "port", "8081", "1.2.3.4"];
    let output = sluicectl(&directory.socket(), &words, "");
    assert_eq!(
        text(&output.stderr),
        "lb as 10.10.2.2/32 protocol tcp port 8081 1.2.3.4\n      \
         ^^^^^^^^^^^^ no such VIP\n      hint: there is 10.1\n"
    );
    assert_eq!(text(&output.stdout), "");
    assert_eq!(output.status.code(), Some(1));
    // A value that looks like an option of sluicectl is still a word of the command.
    let output = sluicectl(&directory.socket(), &["lb", "conf", "timeout", "-1"], "");
    assert!(text(&output.stderr).contains("^^ timeout must be between"), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_script_on_standard_input() {
    let directory = Directory::new();
    serve(&directory.socket());
    let script = "# first\nshow lb\n\nlb vip nonsense\nshow version\nquit\nlb vip worse\n";
    let output = sluicectl(&directory.socket(), &[], script);
    assert_eq!(text(&output.stdout), "show lb: shown\nshow version: shown\n");
    assert!(text(&output.stderr).starts_with("line 4:\nlb vip nonsense\n       ^^^^^^^^ "));
    assert!(!text(&output.stderr).contains("worse"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(sluicectl(&directory.socket(), &[], "show lb\n").status.code(), Some(0));
}

#[test]
fn without_a_daemon_it_says_so() {
    let directory = Directory::new();
    let socket = directory.socket();
    let expected = format!(
        "sluicectl: no daemon is listening on {}: start sluiced or name its socket with -s\n",
        socket.display()
    );
    let output = sluicectl(&socket, &["show", "lb"], "");
    assert_eq!(text(&output.stderr), expected);
    assert_eq!(output.status.code(), Some(2));
    // A socket file nobody listens on any more.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert_eq!(text(&sluicectl(&socket, &["show", "lb"], "").stderr), expected);
}

#[test]
fn the_socket_can_come_from_the_environment() {
    let directory = Directory::new();
    serve(&directory.socket());
    let output = Command::new(env!("CARGO_BIN_EXE_sluicectl"))
        .env("SLUICE_SOCKET", directory.socket())
        .args(["show", "lb"])
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "show lb: shown\n");
}

#[test]
fn help_needs_no_daemon() {
    let directory = Directory::new();
    let output = sluicectl(&directory.socket(), &["help", "lb", "vip"], "");
    assert!(text(&output.stdout).contains("lb vip <vip-prefix>"), "{output:?}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn another_server_on_the_socket_is_told_apart() {
    let directory = Directory::new();
    let listener = std::os::unix::net::UnixListener::bind(directory.socket()).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let _ = std::io::Read::read(&mut stream, &mut request);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnope");
        }
    });
    let output = sluicectl(&directory.socket(), &["show", "lb"], "");
    assert!(text(&output.stderr).contains("answers, but not as Sluice does: 404"), "{output:?}");
    assert_eq!(output.status.code(), Some(2));
}
