//! docs/api.md names every path and every field there is; the examples of docs/forwarding.md run.

use serde_json::Value;

use crate::bench::Bench;

fn keys(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                found.push(key.clone());
                keys(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

/// The answer to a question about an AS.
fn drain_status(bench: &Bench) -> String {
    let line = "wait drained 10.10.2.2/32 protocol tcp port 8080 192.168.1.1";
    let Ok(config::Command::WaitDrained(wait)) = config::parse(line) else { panic!("{line}") };
    serde_json::to_string(&bench.control.drain_status(&wait.vip, &wait.server).unwrap()).unwrap()
}

#[test]
fn the_manual_names_every_field_of_the_api() {
    let manual = std::fs::read_to_string("../docs/api.md").unwrap();
    let mut bench = Bench::walkthrough();
    let rows: Vec<_> = manual.lines().filter(|line| line.starts_with("| `/v1/")).collect();
    assert_eq!(rows.len(), 23);
    bench.ok("create ipip tunnel src 10.10.10.254 dst 10.10.10.9");
    bench.ok("lb no-match 10.10.0.0/16 rst");
    bench.ok("lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.3 drain");
    bench.arrive(0, &crate::defects::syn(4000, ("10.10.2.2", 8080)));
    // The fields of an AS, which other rows refer to.
    let server = rows.iter().find(|row| row.starts_with("| `/v1/lb/as`")).unwrap();
    for row in &rows {
        let path = row.trim_start_matches("| `/v1/").split('`').next().unwrap();
        let flow = "lb/flow/10.10.10.1/4000/10.10.2.2/8080/tcp";
        let path = if path.starts_with("lb/flow/") { flow } else { path };
        let body = match path.starts_with("lb/drain?") {
            true => drain_status(&bench),
            false => bench.control.api(path).unwrap_or_else(|| panic!("no /v1/{path}")),
        };
        let mut found = Vec::new();
        keys(&serde_json::from_str(&body).unwrap(), &mut found);
        let by_reference = if row.contains("the fields of `/v1/lb/as`") { *server } else { "" };
        for key in found {
            let names = |row: &str| {
                row.contains(&format!("`{key}`")) || row.contains(&format!("`{key}[]`"))
            };
            let named = names(row) || names(by_reference);
            assert!(named, "/v1/{path} has `{key}`, which the manual does not name");
        }
    }
}

#[test]
fn each_example_of_forwarding_runs_as_it_stands() {
    let manual = std::fs::read_to_string("../docs/forwarding.md").unwrap();
    let blocks: Vec<_> = manual.split("```").skip(1).step_by(2).collect();
    let examples = blocks.iter().filter(|block| block.contains("sluice# ")).count();
    assert!(examples > 12, "only {examples} examples were found");
    for block in blocks {
        let mut bench = Bench::routed();
        bench.all(&[
            "set interface ip address left0 2001:db8:10::ffff/64",
            "set interface ip address GigabitEthernet0/9/0 2001:db8:1::ffff/64",
        ]);
        for line in block.lines().filter_map(|line| line.strip_prefix("sluice# ")) {
            bench.ok(line);
        }
    }
}
