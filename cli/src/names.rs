//! Names that exist in the running daemon, for completion.

use config::grammar::Kind;
use serde_json::Value;

use crate::client::Client;

/// What could stand in a place of this kind; nothing when the daemon does not answer.
pub(crate) fn live(client: &Client, kind: Kind) -> Vec<String> {
    let (path, list, key) = match kind {
        Kind::Interface => ("/v1/interfaces", "interfaces", "name"),
        Kind::VipPrefix => ("/v1/lb/vips", "vips", "prefix"),
        // The only node packets come in by.
        Kind::Node => return vec!["dpdk-input".to_owned()],
        Kind::Address | Kind::Number | Kind::File | Kind::Word | Kind::Choice(_) => {
            return Vec::new();
        }
    };
    client.get(path).map(|body| strings(&body, list, key)).unwrap_or_default()
}

/// The `key` of every object of the array `list` of `body`, each once.
fn strings(body: &Value, list: &str, key: &str) -> Vec<String> {
    let items = body.get(list).unwrap_or(body).as_array();
    let mut names: Vec<String> = items
        .into_iter()
        .flatten()
        .filter_map(|item| item.get(key)?.as_str().map(str::to_owned))
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_a_list() {
        let body = serde_json::json!({"vips": [
            {"prefix": "10.0.0.2/32"}, {"prefix": "10.0.0.1/32"}, {"prefix": "10.0.0.2/32"}, {}
        ]});
        assert_eq!(strings(&body, "vips", "prefix"), ["10.0.0.1/32", "10.0.0.2/32"]);
        assert_eq!(strings(&body["vips"], "vips", "prefix").len(), 2);
        assert!(strings(&serde_json::json!("no"), "vips", "prefix").is_empty());
    }
}
