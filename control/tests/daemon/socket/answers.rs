//! What paths and lines are answered.

use std::fs;
use std::time::Duration;

use super::{Folder, cli, request, with_server};

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
