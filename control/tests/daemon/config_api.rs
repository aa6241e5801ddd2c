//! `/v1/config`: the configuration as a whole over the socket.

use std::path::PathBuf;

use serde_json::Value;
use testkit::http_request::HttpRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::reload::FIXED;
use crate::socket::{cli, with_server};

/// The last request of a connection, by method and target.
fn request<'a>(line: &str, body: &'a str) -> HttpRequest<'a> {
    let (method, target) = line.split_once(' ').unwrap();
    HttpRequest::new(method, target, body).last()
}

/// Status, content type and body of the answer to a request.
async fn answer(path: &PathBuf, request: HttpRequest<'_>) -> (u16, String, String) {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(&request.bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), kind.to_owned(), body.to_owned())
}

async fn json(path: &PathBuf, line: &str, body: &str) -> (u16, Value) {
    let (status, kind, body) = answer(path, request(line, body)).await;
    assert_eq!(kind, "application/json");
    (status, serde_json::from_str(&body).unwrap())
}

async fn toml(path: &PathBuf) -> String {
    let text = request("GET /v1/config", "").header("Accept", "text/html, text/plain;q=0.9");
    let (status, kind, body) = answer(path, text).await;
    assert_eq!((status, &*kind), (200, "text/plain; charset=utf-8"));
    body
}

#[test]
fn the_configuration_is_read_changed_and_put_back() {
    with_server("put", |path| async move {
        let before = toml(&path).await;
        assert!(before.starts_with("[cpu]\nworkers = 1\n"), "{before}");
        let (status, body) = json(&path, "GET /v1/config", "").await;
        assert!(status == 200 && body["commands"].is_array(), "JSON unless text is asked for");
        let (status, body) = json(&path, "PUT /v1/config", &before).await;
        assert_eq!((status, body["changes"].as_array().unwrap().len()), (200, 0));

        let other = before.replace("\"192.168.1.3\"", "\"192.168.1.4\"");
        assert_ne!(other, before);
        let (status, body) = json(&path, "PUT /v1/config?dry-run=true", &other).await;
        assert_eq!(status, 200);
        let key = "lb as 10.10.2.2/32 protocol tcp port 8080";
        assert_eq!(body["changes"][0]["sign"], "-");
        assert_eq!(body["changes"][0]["command"], format!("{key} 192.168.1.3"));
        assert_eq!(body["impact"]["vips"][0]["slots"], 65_537);
        let moved = body["impact"]["vips"][0]["slots_moved"].as_u64().unwrap();
        // A slot stays with 192.168.1.1 only where that comes before both the old AS and the new.
        let stayed = 65_537 - moved;
        assert!((65_537 / 3 - 1_000..65_537 / 3 + 1_000).contains(&stayed), "{moved}");
        assert_eq!(toml(&path).await, before, "a dry run changes nothing");

        let (status, body) = json(&path, "PUT /v1/config?confirm=600", &other).await;
        assert_eq!((status, body["confirm_within_s"].as_u64()), (200, Some(600)));
        assert_eq!(toml(&path).await, other);
        let (status, body) = json(&path, "PUT /v1/config", &before).await;
        assert_eq!(status, 409);
        assert!(body["error"]["hint"].as_str().unwrap().contains("reload cancel"), "{body}");
        assert_eq!(json(&path, "POST /v1/config/cancel", "").await.0, 200);
        assert_eq!(toml(&path).await, before);
        let (_, _) = json(&path, "PUT /v1/config?confirm=600", &other).await;
        assert_eq!(json(&path, "POST /v1/config/confirm", "").await.0, 200);
        assert_eq!(json(&path, "POST /v1/config/confirm", "").await.0, 409);
        assert_eq!(toml(&path).await, other);
    });
}

#[test]
fn mistakes_come_with_their_places() {
    with_server("mistakes", |path| async move {
        let before = toml(&path).await;
        let bad = format!("{FIXED}[lb]\ntimeout = 0\n[[vip]]\nprefix = \"10.0.0.1\"\n");
        let (status, body) = json(&path, "PUT /v1/config", &bad).await;
        assert_eq!(status, 422);
        let mistakes = body["error"]["mistakes"].as_array().unwrap();
        let places: Vec<_> = mistakes
            .iter()
            .map(|mistake| {
                let line = mistake["line"].as_u64().unwrap() as usize;
                let column = mistake["column"].as_u64().unwrap() as usize;
                let text = &bad.lines().nth(line - 1).unwrap()[column - 1..];
                (text, mistake["token"].as_str().unwrap(), mistake["reason"].is_string())
            })
            .collect();
        assert_eq!(places, [("0", "0", true), ("\"10.0.0.1\"", "\"10.0.0.1\"", true)]);
        assert_eq!(json(&path, "PUT /v1/config?confirm=never", &before).await.0, 400);
        assert_eq!(json(&path, "POST /v1/config", "").await.0, 405);
        assert_eq!(json(&path, "GET /v1/config/confirm", "").await.0, 405);
        assert_eq!(toml(&path).await, before);
    });
}

#[test]
fn the_commands_do_the_same() {
    with_server("change", |path| async move {
        let folder = std::env::temp_dir().join(format!("sluice-change-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a.toml");
        let (status, body) = cli(&path, &format!("save {}", file.display()), false).await;
        assert_eq!(status, 200, "{body}");
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, toml(&path).await);
        std::fs::write(&file, text.replace("\"192.168.1.3\"", "\"192.168.1.4\"")).unwrap();
        let run = |line: String| {
            let path = path.clone();
            async move {
                let (status, mut body) = cli(&path, &line, false).await;
                (status, body["results"][0].take())
            }
        };
        let (status, diff) = run(format!("diff {}", file.display())).await;
        let printed = diff["output"].as_str().unwrap();
        assert!(status == 200 && printed.contains("\nvip 10.10.2.2/32 protocol tcp port 8080: "));
        assert!(printed.contains(" of 65537 slots move\nlive flows: 0 re-selected, 0 stay "));
        let (_, done) = run(format!("reload {} confirm 60", file.display())).await;
        assert!(done["output"].as_str().unwrap().ends_with("or all of it is undone\n"), "{done}");
        assert_eq!(run("save".to_owned()).await.0, 422, "not while one is to be confirmed");
        assert_eq!(run("confirm".to_owned()).await.1["output"], "confirmed\n");
        assert_eq!(run("confirm".to_owned()).await.0, 422);
        assert_eq!(run("reload cancel".to_owned()).await.0, 422);
        std::fs::write(&file, "[cpu]\nworker = 1\n").unwrap();
        let (status, refused) = run(format!("reload {}", file.display())).await;
        let report = control::daemon::load(&file).unwrap_err();
        assert_eq!((status, refused["output"].as_str()), (422, Some(&*report)));
        assert_eq!(refused["error"]["reason"], "the configuration has a mistake");
        std::fs::remove_dir_all(&folder).unwrap();
    });
}
