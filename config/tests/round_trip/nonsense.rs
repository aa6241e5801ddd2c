//! Nothing makes the parsers panic.

use config::grammar::{complete, help};
use config::{Span, Startup, parse_line, report, report_line};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Words of the grammar and values, in any order: nonsense that gets far.
fn nonsense() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "(show|set|lb|vip|vips|as|drain|then|undrain|wait|drained|flows|conf|ip|route|flush|interface|address|state|nat4|in|del|via)",
        "(port|protocol|tcp|udp|encap|nat4|target_port|new_len|weight|dscp|type|buckets|timeout)",
        "(create|delete|sub-interfaces|ipip|tunnel|src|dst|dot1q|inner-dot1q|no-match|flow|fib|ip6)",
        "(gre4|l3dsr|node_port|mss|auto|scheduler|rr|src_ip_sticky|off|update|1-2|5-3|0-9|tunnel-ttl)",
        "(1\\.2\\.3\\.4|10\\.0\\.0\\.0/8|::|2001:db8::/32|0|-1|70000|4294967296|/|\\?|#|é)",
        "\\PC{0,6}",
    ];
    vec(word, 0..9).prop_map(|words| words.join(" "))
}

const SECTIONS: [&str; 9] =
    ["cpu", "dpdk", "unix", "lb", "[dpdk.dev]", "[interface]", "[route]", "[vip]", "[neighbor]"];

const KEYS: [&str; 19] = [
    "main-core",
    "workers",
    "corelist-workers",
    "poll",
    "eal-args",
    "name",
    "vdev",
    "pci",
    "address",
    "mtu",
    "prefix",
    "via",
    "port",
    "protocol",
    "as",
    "buckets",
    "mac",
    "interface",
    "encap",
];

const VALUES: [&str; 20] = [
    "\"\"",
    "\"1-3\"",
    "\"10.0.0.1/24\"",
    "\"10.0.0.1\"",
    "\"tcp\"",
    "\"nat4\"",
    "-1",
    "0",
    "1",
    "99999999999999999999",
    "0xff",
    "1.5",
    "true",
    "[]",
    "[1]",
    "[\"10.0.0.1\"]",
    "{}",
    "[{}]",
    "[{address=3}]",
    "1979-05-27",
];

proptest! {
    #[test]
    fn no_line_makes_the_cli_panic(line in prop_oneof![nonsense(), ".{0,60}"]) {
        match parse_line(&line) {
            Ok(_) => {}
            Err(error) => {
                let text = report_line(&line, &error);
                prop_assert!(text.contains(&error.reason));
                let at: String = line.chars().skip(error.column - 1).collect();
                prop_assert!(at.starts_with(&error.token));
            }
        }
        let completion = complete(&line);
        prop_assert!(line.is_char_boundary(completion.start));
        help(&line.split(' ').collect::<Vec<_>>());
    }

    #[test]
    fn no_text_makes_the_toml_reader_panic(text in ".{0,200}") {
        if let Err(problems) = Startup::parse(&text) {
            prop_assert!(!problems.is_empty());
            report("f.toml", &text, &problems);
        }
    }

    #[test]
    fn no_value_makes_the_toml_reader_panic(
        section in select(&SECTIONS[..]),
        entries in vec((select(&KEYS[..]), select(&VALUES[..])), 0..6),
    ) {
        let mut text = format!("[{section}]\n");
        for (key, value) in entries {
            text += &format!("{key} = {value}\n");
        }
        if let Err(problems) = Startup::parse(&text) {
            report("f.toml", &text, &problems);
            for problem in problems {
                let Span { start, end } = problem.span;
                prop_assert!(start <= end && end <= text.len(), "{problem:?}");
            }
        }
    }
}
