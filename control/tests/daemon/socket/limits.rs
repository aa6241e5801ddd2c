//! Clients that ask for too much, or that say nothing or nonsense.

use std::time::Duration;

use control::server::MAX_CONNECTIONS;
use testkit::http_request::HttpRequest;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::{cli, request, with_server};

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
        let command = HttpRequest::new("POST", "/v1/cli", ping).bytes();
        let mut held = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(&command).await.unwrap();
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
        let batch = HttpRequest::new("POST", "/v1/cli", &lines).bytes();
        let mut held = Vec::new();
        for _ in 0..24 {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(&batch).await.unwrap();
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
