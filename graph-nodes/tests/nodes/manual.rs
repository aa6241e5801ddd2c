//! docs/counters.md lists exactly the counters that `show errors` can print.

use std::collections::BTreeSet;

/// Node, text, severity.
type Row = (String, String, String);

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/counters.md");

/// Everything between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Whether the text is this node's, where a row has one for each family: that of its packets comes
/// first in a node's name.
fn is_of(text: &str, node: &str) -> bool {
    let family = node.chars().find(|c| ['4', '6'].contains(c));
    match text.get(..4) {
        Some("ip4 ") => family == Some('4'),
        Some("ip6 ") => family == Some('6'),
        _ => true,
    }
}

/// The names that a name with `*` stands for.
fn expand(name: &str) -> Vec<String> {
    match name.split_once('*') {
        None => vec![name.to_owned()],
        Some((head, tail)) => {
            let tails = expand(tail);
            ["4", "6"]
                .iter()
                .flat_map(|n| tails.iter().map(move |t| format!("{head}{n}{t}")))
                .collect()
        }
    }
}

/// The rows of the page's tables: nodes, texts, severity, meaning, what to do.
fn documented(page: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [nodes, texts, severity, meaning, action] = cells[..] else {
            panic!("not five cells: {line}");
        };
        assert!(!meaning.is_empty() && !action.is_empty(), "nothing said of {texts}");
        let before = rows.len();
        for node in quoted(nodes).into_iter().flat_map(expand) {
            let texts = quoted(texts);
            for text in texts.iter().filter(|text| texts.len() == 1 || is_of(text, &node)) {
                rows.push((node.clone(), text.to_string(), severity.to_owned()));
            }
        }
        assert!(rows.len() > before, "no counter: {line}");
    }
    rows
}

fn counted() -> BTreeSet<Row> {
    let graph = graph_nodes::builder().info().unwrap();
    let row = |counter: &dataplane::graph::CounterInfo| {
        let node = graph.nodes[usize::from(counter.node)];
        (node.to_owned(), counter.text.to_owned(), counter.severity.to_string())
    };
    graph.counters.iter().map(row).collect()
}

#[test]
fn the_manual_lists_every_counter_and_no_other() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let rows = documented(&page);
    let listed: BTreeSet<_> = rows.iter().cloned().collect();
    assert_eq!(listed.len(), rows.len(), "docs/counters.md lists a counter twice");
    let counted = counted();
    let missing: Vec<_> = counted.difference(&listed).collect();
    let surplus: Vec<_> = listed.difference(&counted).collect();
    assert!(missing.is_empty(), "docs/counters.md lacks {missing:#?}");
    assert!(surplus.is_empty(), "docs/counters.md lists what nobody counts: {surplus:#?}");
}
