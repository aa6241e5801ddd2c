//! The daemon's socket, with real clients and no data plane.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use control::execute::Shared;
use control::server::{self, Entrance, MAX_CONNECTIONS, Socket};
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
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
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

const PATHS: [&str; 17] = [
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
    "lb/flows",
    "events",
];

#[test]
fn every_path_answers_with_an_object_and_others_with_an_error() {
    with_server("paths", |path| async move {
        for name in PATHS {
            let (status, body) = request(&path, "GET", &format!("/v1/{name}"), "").await;
            assert_eq!(status, 200, "{name}");
            assert!(
                serde_json::from_str::<serde_json::Value>(&body).unwrap().is_object(),
                "{name}"
            );
            assert_eq!(request(&path, "DELETE", &format!("/v1/{name}"), "").await.0, 405, "{name}");
        }
        for (method, target, expected) in [
            ("GET", "/v1/nothing", 404),
            ("GET", "/", 404),
            ("GET", "/v1/", 404),
            ("GET", "/v1/cli", 405),
            ("POST", "/v1/cli?atomic=maybe", 400),
        ] {
            let (status, body) = request(&path, method, target, "").await;
            assert_eq!(status, expected, "{method} {target}");
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert!(!body["error"]["reason"].as_str().unwrap().is_empty());
        }
    });
}

#[test]
fn show_json_prints_the_body_of_the_api() {
    with_server("json", |path| async move {
        for (command, name) in [
            ("show lb json", "lb"),
            ("show lb vips json", "lb/vips"),
            ("show lb as json", "lb/as"),
            ("show interface json", "interfaces"),
            ("show interface address json", "addresses"),
            ("show ip fib json", "fib/ip4"),
            ("show version json", "version"),
            ("show running-config json", "config"),
        ] {
            let (_, body) = request(&path, "GET", &format!("/v1/{name}"), "").await;
            let (status, results) = cli(&path, command, false).await;
            assert_eq!((status, results["results"][0]["output"].as_str()), (200, Some(&*body)));
        }
    });
}

#[test]
fn lines_are_answered_one_by_one() {
    with_server("lines", |path| async move {
        let lines = "# a comment\n\nshow lb vips\nlb vip nonsense\nlb conf timeout 50\n";
        let (status, body) = cli(&path, lines, false).await;
        assert_eq!(status, 422);
        let results = body["results"].as_array().unwrap();
        let ok: Vec<_> = results.iter().map(|result| result["ok"].as_bool().unwrap()).collect();
        assert_eq!(ok, [true, false, true]);
        assert_eq!(results[1]["line"], "lb vip nonsense");
        assert_eq!(results[1]["error"]["token"], "nonsense");
        assert_eq!(results[1]["error"]["column"], 8);
        assert!(results[1]["error"]["reason"].is_string());
        assert!(results[1]["error"].get("hint").is_some(), "present even when there is none");
        assert!(results[0].get("error").is_none());
        let (_, body) = request(&path, "GET", "/v1/lb", "").await;
        assert!(body.contains("\"timeout_s\": 50"), "{body}");
    });
}

#[test]
fn an_atomic_batch_is_all_or_nothing() {
    with_server("atomic", |path| async move {
        let before = request(&path, "GET", "/v1/config", "").await.1;
        let good = "lb vip 10.9.0.1/32 protocol tcp port 1 encap nat4\n\
                    lb as 10.9.0.1/32 protocol tcp port 1 192.168.1.9\n";
        let (status, body) = cli(&path, &format!("{good}lb vip nonsense\n"), true).await;
        assert_eq!(status, 422);
        assert_eq!(body["results"][0]["output"], "", "nothing was added, so nothing says so");
        assert_eq!(request(&path, "GET", "/v1/config", "").await.1, before);
        let (status, body) = cli(&path, good, true).await;
        assert_eq!((status, &body["results"][0]["output"]), (200, &"lb_vip_add ok 2".into()));
        let (status, _) = cli(&path, "show version\n", true).await;
        assert_eq!(status, 422, "only changes can be atomic");
    });
}

#[test]
fn a_ping_does_not_keep_others_waiting() {
    with_server("ping", |path| async move {
        let ping = cli(&path, "ping 10.10.10.254 repeat 3 interval 0.05", false);
        let meanwhile = request(&path, "GET", "/v1/version", "");
        let ((status, body), (version, _)) = tokio::join!(ping, meanwhile);
        assert_eq!((status, version), (200, 200));
        let text = body["results"][0]["output"].as_str().unwrap();
        assert!(text.starts_with("68 bytes from 10.10.10.254: icmp_seq=1 ttl=64 time="), "{text}");
        assert!(text.ends_with("Statistics: 3 sent, 3 received, 0% packet loss\n"), "{text}");
        let (_, body) = cli(&path, "ping 10.10.2.2 repeat 1", false).await;
        let text = body["results"][0]["output"].as_str().unwrap();
        assert!(text.contains("1 sent, 1 received"), "a VIP answers: {text}");
        let (status, body) = cli(&path, "ping 203.0.113.1", false).await;
        assert_eq!(status, 422);
        assert_eq!(body["results"][0]["error"]["reason"], "there is no route to 203.0.113.1");
        let (_, body) = cli(&path, "ping 192.168.1.77 repeat 1 interval 0.01", false).await;
        let text = body["results"][0]["output"].as_str().unwrap();
        assert_eq!(text, "\nStatistics: 1 sent, 0 received, 100% packet loss\n");
    });
}

#[test]
fn command_files_nest_to_a_limit_and_errors_name_the_line() {
    let folder = Folder::new("exec-files");
    let good = folder.0.join("good.cli");
    fs::write(&good, "# fine\nlb vip 10.9.0.1/32 protocol tcp port 1 encap nat4\n").unwrap();
    let bad = folder.0.join("bad.cli");
    fs::write(&bad, "show version\nlb vip nonsense\nlb conf timeout 77\n").unwrap();
    let endless = folder.0.join("endless.cli");
    fs::write(&endless, format!("exec {}\n", endless.display())).unwrap();
    with_server("exec", |path| async move {
        let (status, body) = cli(&path, &format!("exec {}", good.display()), false).await;
        assert_eq!((status, &body["results"][0]["output"]), (200, &"lb_vip_add ok 2\n".into()));
        let (status, body) = cli(&path, &format!("exec {}", bad.display()), false).await;
        let reason = body["results"][0]["error"]["reason"].as_str().unwrap();
        assert_eq!(status, 422);
        assert!(reason.starts_with(&format!("{}:2:8: ", bad.display())), "{reason}");
        let printed = body["results"][0]["output"].as_str().unwrap();
        assert!(printed.starts_with("sluice v"), "what went before the error is shown: {printed}");
        let (_, lb) = request(&path, "GET", "/v1/lb", "").await;
        assert!(lb.contains("\"timeout_s\": 40"), "the file ends at its first error");
        let (_, body) = cli(&path, &format!("exec {}", endless.display()), false).await;
        let reason = body["results"][0]["error"]["reason"].as_str().unwrap();
        assert!(reason.contains("more than 8 deep"), "{reason}");
        let (status, body) = cli(&path, "exec /nonexistent.cli", false).await;
        assert_eq!(status, 422);
        let reason = body["results"][0]["error"]["reason"].as_str().unwrap();
        assert!(reason.starts_with("cannot read /nonexistent.cli"), "{reason}");
    });
}

#[test]
fn a_body_has_a_limit() {
    with_server("limits", |path| async move {
        let (status, _) = request(&path, "POST", "/v1/cli", &"#".repeat(17 * 1024 * 1024)).await;
        assert_eq!(status, 413);
        let (status, body) = cli(&path, &"x".repeat(2 << 20), false).await;
        let error = &body["results"][0]["error"];
        assert_eq!(status, 422);
        assert_eq!(error["reason"], "a line has at most 131072 bytes, not 2097152");
        assert_eq!(body["results"][0]["line"].as_str().unwrap().len(), 64, "only its beginning");
    });
}

#[test]
fn idle_connections_make_room_for_others() {
    with_server("idle", |path| async move {
        let mut held = Vec::new();
        for number in 0..3 * MAX_CONNECTIONS {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            // Some say nothing, some half of a head, some a head and half of a body.
            let said =
                ["", "GET /v1/ver", "POST /v1/cli HTTP/1.1\r\nContent-Length: 99\r\n\r\nshow"];
            // It may have been closed for a newer one.
            let _ = stream.write_all(said[number % 3].as_bytes()).await;
            held.push(stream);
        }
        for _ in 0..10 {
            assert_eq!(request(&path, "GET", "/v1/version", "").await.0, 200);
        }
        drop(held);
    });
}

#[test]
fn commands_at_work_are_not_closed_and_leave_others_their_share() {
    with_server("running", |path| async move {
        let ping = "ping 10.10.10.254 repeat 1000 interval 60";
        let head = format!("POST /v1/cli HTTP/1.1\r\nContent-Length: {}\r\n\r\n{ping}", ping.len());
        let mut held = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            held.push(stream);
        }
        // The server takes them up when it comes to it; then changes are refused, looks are not.
        while request(&path, "POST", "/v1/cli", "lb conf timeout 40").await.0 != 503 {}
        let (_, body) = request(&path, "POST", "/v1/cli", "lb conf timeout 40").await;
        assert!(body.contains("48 commands are being run"), "{body}");
        for _ in 0..2 * MAX_CONNECTIONS {
            assert_eq!(cli(&path, "show version", false).await.0, 200);
        }
        drop(held);
        while request(&path, "POST", "/v1/cli", "lb conf timeout 40").await.0 != 200 {}
    });
}

#[test]
fn a_batch_ends_where_its_answer_grows_too_long() {
    with_server("long-answer", |path| async move {
        let (status, body) = cli(&path, &"help\n".repeat(100_000), false).await;
        let results = body["results"].as_array().unwrap();
        assert_eq!(status, 422);
        assert!((1000..99_999).contains(&results.len()), "{}", results.len());
        let reason = |results: &[serde_json::Value]| {
            results.last().unwrap()["error"]["reason"].as_str().unwrap().to_owned()
        };
        assert!(reason(results).starts_with("the answer has grown too long"));
        // What is told back of these takes more than they do, being escaped.
        let junk = format!("{}\n", "\u{1}".repeat(100_000));
        let (status, body) = cli(&path, &junk.repeat(160), true).await;
        let results = body["results"].as_array().unwrap();
        assert_eq!(status, 422);
        assert!(results.len() < 100, "{}", results.len());
        assert!(reason(results).starts_with("the answer has grown too long"));
    });
}

#[test]
fn clients_that_do_not_take_their_answers_lose_them_to_others() {
    with_server("unread", |path| async move {
        let lines = "help\n".repeat(2000);
        let head =
            format!("POST /v1/cli HTTP/1.1\r\nContent-Length: {}\r\n\r\n{lines}", lines.len());
        let mut held = Vec::new();
        for _ in 0..24 {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            held.push(stream);
            assert_eq!(cli(&path, "show version", false).await.0, 200);
        }
        // One that takes its answer gets it whole, as soon as the others have been given up.
        loop {
            let (status, body) = cli(&path, &lines, false).await;
            let results = body["results"].as_array();
            if status == 200 && results.is_some_and(|results| results.len() == 2000) {
                break;
            }
            assert!(matches!(status, 422 | 503), "{status}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        drop(held);
    });
}

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

const WRITE: &str = "write-0123456789abcdef0123456789abcdef";
const READ: &str = "read-0123456789abcdef0123456789abcdef";

/// One request over TCP, with a token or without: head and body.
async fn over_tcp(
    address: &str,
    token: &str,
    method: &str,
    target: &str,
    body: &str,
) -> (String, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let authorization = match token {
        "" => String::new(),
        token => format!("Authorization: Bearer {token}\r\n"),
    };
    let text = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{authorization}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
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
fn garbage_on_the_socket_harms_nobody() {
    with_server("garbage", |path| async move {
        for bytes in [&b"\x00\xff\x16\x03\x01"[..], b"GET\r\n\r\n", b"POST /v1/cli HTTP/1.1\r\n"] {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(bytes).await.unwrap();
        }
        assert_eq!(cli(&path, "\u{1}\u{2}", false).await.0, 422);
        assert_eq!(cli(&path, &"x".repeat(5000), false).await.0, 422);
        assert_eq!(request(&path, "GET", "/v1/version", "").await.0, 200);
    });
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

#[test]
fn questions_about_flows_and_about_an_as_that_drains() {
    with_server("questions", |path| async move {
        let ask = async |target: &str| {
            let (status, body) = request(&path, "GET", &format!("/v1/lb/{target}"), "").await;
            (status, serde_json::from_str::<serde_json::Value>(&body).unwrap())
        };
        let server = "drain?vip=10.10.2.2%2F32&protocol=tcp&port=8080&as=192.168.1.1";
        let (status, body) = ask(server).await;
        assert_eq!(
            (status, body["state"].as_str(), body["takes_flows"].as_bool()),
            (200, Some("used"), Some(true))
        );
        let line = "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.1 drain";
        assert_eq!(cli(&path, line, true).await.0, 200);
        let mut state = String::new();
        for _ in 0..1_000 {
            state = ask(server).await.1["state"].as_str().unwrap().to_owned();
            if state == "drained" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(state, "drained");
        let (status, body) =
            ask("drain?vip=10.10.2.2/32&protocol=tcp&port=8080&as=192.168.1.9").await;
        assert_eq!((status, body["error"]["token"].as_str()), (404, Some("192.168.1.9")));
        assert_eq!(body["error"]["hint"], "its ASs: 192.168.1.1, 192.168.1.3");
        assert_eq!(ask("drain?vip=1.2.3.4/32&as=192.168.1.1").await.0, 404);
        for bad in [
            "drain",
            "drain?vip=10.10.2.2/32",
            "drain?limit=1",
            "flows?limit=0",
            "flows?x",
            "flows?as=a%20b",
        ] {
            assert_eq!(ask(bad).await.0, 400, "{bad}");
        }
        let (status, body) = ask("flows?vip=10.10.2.2/32&limit=5").await;
        assert_eq!((status, body["flows"].as_array().map(Vec::len)), (200, Some(0)));
        assert_eq!(ask("flows?vip=1.2.3.4/32").await.0, 404);
        for path_only in ["flows", "drain"] {
            let (status, _) = request(&path, "POST", &format!("/v1/lb/{path_only}"), "").await;
            assert_eq!(status, 405);
        }
        // Waiting is not the daemon's business, in no batch.
        let line = "wait drained 10.10.2.2/32 protocol tcp port 8080 192.168.1.1";
        let (status, body) = cli(&path, line, false).await;
        assert_eq!(status, 422);
        assert!(body["results"][0]["error"]["hint"].as_str().unwrap().contains("/v1/lb/drain"));
    });
}
