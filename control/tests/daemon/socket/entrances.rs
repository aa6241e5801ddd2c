//! The file of the socket, and TCP with tokens.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use control::execute::Shared;
use control::server::{self, Entrance, Socket};
use testkit::http_request::HttpRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

use super::Folder;
use crate::bench::Bench;

const WRITE: &str = "write-0123456789abcdef0123456789abcdef";
const READ: &str = "read-0123456789abcdef0123456789abcdef";

/// Serves as a startup file says, with TCP on a port that is free; its text may have `PORT`.
fn with_tcp<F: Future<Output = ()>>(name: &str, toml: &str, client: impl FnOnce(String) -> F) {
    let folder = Folder::new(name);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let toml = format!(
        "[unix]\ncli-listen = \"{}\"\n[api]\ntcp-listen = \"{address}\"\n{}",
        folder.socket().display(),
        toml.replace("DIR", &folder.0.display().to_string()),
    );
    for (file, token) in [("write", WRITE), ("read", READ)] {
        let path = folder.0.join(file);
        fs::write(&path, format!("{token}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let startup = config::Startup::parse(&toml).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Bench { control, workers: _workers, .. } = Bench::walkthrough();
    let shared = Shared::new(control.take());
    LocalSet::new().block_on(&runtime, async {
        let socket = Entrance::new(&startup, None).unwrap().open().unwrap();
        tokio::select! {
            never = server::serve(&socket, &shared) => match never {},
            () = client(address) => {}
        }
    });
}

/// One request over TCP, with a token or without: head and body.
async fn over_tcp(
    address: &str,
    token: &str,
    method: &str,
    target: &str,
    body: &str,
) -> (String, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut request = HttpRequest::new(method, target, body).last();
    if !token.is_empty() {
        request = request.header("Authorization", &format!("Bearer {token}"));
    }
    stream.write_all(&request.bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn over_tcp_a_token_decides() {
    let tokens = "token-file = \"DIR/write\"\nread-only-token-file = \"DIR/read\"\n";
    with_tcp("tcp", tokens, |address| async move {
        for token in ["", "wrong-0123456789abcdef0123456789abcdef", &WRITE[1..]] {
            let (head, body) = over_tcp(&address, token, "GET", "/v1/version", "").await;
            assert!(head.starts_with("HTTP/1.1 401"), "{head}");
            assert!(head.to_lowercase().contains("www-authenticate: bearer"), "{head}");
            assert!(!body.contains("sluice"), "{body}");
        }
        let change = "lb conf timeout 55";
        for (token, method, target, body, status) in [
            (READ, "GET", "/v1/version", "", 200),
            (READ, "POST", "/v1/cli", "show version", 200),
            (READ, "POST", "/v1/cli", "show version\nlb conf timeout 55", 403),
            (READ, "POST", "/v1/cli", "clear errors", 403),
            (READ, "POST", "/v1/cli", "trace add dpdk-input 1", 403),
            (READ, "POST", "/v1/cli", "ping 10.10.10.254 repeat 1", 403),
            (READ, "POST", "/v1/cli", "exec /etc/passwd", 403),
            (READ, "POST", "/v1/cli?atomic=true", change, 403),
            (READ, "DELETE", "/v1/version", "", 403),
            (WRITE, "POST", "/v1/cli", change, 200),
        ] {
            let (head, answer) = over_tcp(&address, token, method, target, body).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{body}: {head}\n{answer}");
            if status == 403 {
                assert!(answer.contains("who may only read"), "{answer}");
            }
        }
        let (_, lb) = over_tcp(&address, READ, "GET", "/v1/lb", "").await;
        assert!(lb.contains("\"timeout_s\": 55"), "{lb}");
    });
}

#[test]
fn tcp_without_a_token_that_can_be_trusted_does_not_start() {
    let folder = Folder::new("tokens");
    let file = folder.0.join("token");
    let entrance = |lines: &str, mode: u32, token: &str| {
        fs::write(&file, token).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let toml = format!(
            "[unix]\ncli-listen = \"{}\"\n[api]\n{}",
            folder.socket().display(),
            lines.replace("FILE", &file.display().to_string())
        );
        let reasons = |problems: Vec<config::Problem>| problems[0].reason.clone();
        let startup = config::Startup::parse(&toml).map_err(reasons)?;
        Entrance::new(&startup, None).map(drop)
    };
    let listen = "tcp-listen = \"127.0.0.1:1\"\n";
    assert_eq!(entrance(listen, 0o600, WRITE).unwrap_err(), "listening for TCP takes a token");
    let both = format!("{listen}token-file = \"FILE\"\n");
    assert!(entrance(&both, 0o644, WRITE).unwrap_err().contains("its mode is 0644"));
    assert!(entrance(&both, 0o600, "short").unwrap_err().contains("32 to 1024 characters, not 5"));
    let twice = format!("{both}read-only-token-file = \"FILE\"\n");
    assert!(entrance(&twice, 0o600, WRITE).unwrap_err().contains("the one that may change"));
    assert!(!folder.0.join("cli.sock.new").exists(), "the half-made socket is left behind");
}

#[test]
fn the_file_is_made_replaced_and_respected_as_it_should_be() {
    let folder = Folder::new("files");
    let path = folder.0.join("made/for/it/cli.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let socket = Socket::bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    // Somebody listens: hands off.
    let error = Socket::bind(&path).unwrap_err().to_string();
    assert!(
        error.contains("another daemon listens there") && error.contains("cli.sock"),
        "{error}"
    );
    drop(socket);
    assert!(!path.exists());
    // A killed daemon's socket is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(Socket::bind(&path).unwrap());
    // Anything else is not ours to remove.
    fs::File::create(&path).unwrap().write_all(b"precious").unwrap();
    let error = Socket::bind(&path).unwrap_err().to_string();
    assert!(error.contains("not a socket"), "{error}");
    let mut text = String::new();
    fs::File::open(&path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "precious");
}
