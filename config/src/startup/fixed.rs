//! [`Fixed`]: the sections of a file that are taken up by a start only.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter, Write};

use toml::de::{DeTable, DeValue};

use crate::defaults;

/// The sections that commands are made of; every other one is fixed.
const CHANGEABLE: [&str; 8] =
    ["interface", "sub-interface", "tunnel", "route", "neighbor", "lb", "no-match", "vip"];

/// Read again with every reload, and part of the commands when the configuration is saved.
const EXEC: &str = "unix.exec";

/// `[cpu]`, `[dpdk]`, `[unix]` and what else is neither network nor load balancing, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    root: Section,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Section {
    /// Keys, and their values as TOML.
    values: Vec<(String, String)>,
    /// `[key]`.
    tables: Vec<(String, Section)>,
    /// `[[key]]`.
    lists: Vec<(String, Vec<Section>)>,
}

/// A key of a fixed section that two files have not in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Its path, such as `cpu.workers`; a device counts under its name.
    pub key: String,
    /// Its value as TOML, as the daemon was started; `None` when it was not set.
    pub old: Option<String>,
    /// Its value as TOML in the other file.
    pub new: Option<String>,
}

impl Display for Restart {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or("(not set)".to_owned());
        write!(f, "restart needed: {} {} → {}", self.key, shown(&self.old), shown(&self.new))
    }
}

impl Fixed {
    pub(super) fn read(document: &DeTable<'_>) -> Self {
        let mut root = Section::read(document);
        let fixed = |name: &String| !CHANGEABLE.contains(&name.as_str());
        root.values.retain(|(name, _)| fixed(name));
        root.tables.retain(|(name, _)| fixed(name));
        root.lists.retain(|(name, _)| fixed(name));
        Self { root }
    }

    /// What of `new` takes a restart, when the daemon was started with `self`. A key that is left out
    /// is the same as one that is set to its default.
    pub fn restarts(&self, new: &Fixed) -> Vec<Restart> {
        let mut found = Vec::new();
        compare(&Path::default(), &self.root, &new.root, &mut found);
        found.retain(|restart| restart.key != EXEC);
        found
    }

    /// The value of a key, such as `punt.tap`, as TOML.
    pub fn value(&self, path: &str) -> Option<&str> {
        let (table, key) = path.rsplit_once('.')?;
        let (_, section) = self.root.tables.iter().find(|(name, _)| name == table)?;
        section.values.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The sections as TOML text, without `[unix] exec`.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        self.root.write("", &mut text);
        text
    }
}

impl Section {
    fn read(table: &DeTable<'_>) -> Self {
        let mut section = Self::default();
        for (key, value) in table.iter() {
            let key = key.get_ref().to_string();
            match value.get_ref() {
                DeValue::Table(table) => section.tables.push((key, Self::read(table))),
                DeValue::Array(array) => {
                    let tables = array.iter().filter_map(|value| match value.get_ref() {
                        DeValue::Table(table) => Some(Self::read(table)),
                        _ => None,
                    });
                    let tables: Vec<Self> = tables.collect();
                    match tables.len() == array.len() && !tables.is_empty() {
                        true => section.lists.push((key, tables)),
                        false => section.values.push((key, rendered(value.get_ref()))),
                    }
                }
                other => section.values.push((key, rendered(other))),
            }
        }
        section
    }

    fn value(&self, key: &str) -> Option<&String> {
        self.values.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Writes its keys, which belong under the header `path`, and then the tables in it.
    fn write(&self, path: &str, text: &mut String) {
        for (key, value) in &self.values {
            let comment = if Path::join(path, key) == EXEC { "# part of this file: " } else { "" };
            let _ = writeln!(text, "{comment}{key} = {value}");
        }
        for (key, table) in &self.tables {
            let path = Path::join(path, key);
            let _ = write!(text, "\n[{path}]\n");
            table.write(&path, text);
        }
        for (key, list) in &self.lists {
            let path = Path::join(path, key);
            for table in list {
                let _ = write!(text, "\n[[{path}]]\n");
                table.write(&path, text);
            }
        }
    }

    /// What people call an element of a list: its name, else its number.
    fn named(list: &[Self]) -> Vec<(String, &Self)> {
        let name = |(at, section): (usize, &Self)| match section.value("name") {
            Some(name) => name.trim_matches('"').to_owned(),
            None => (at + 1).to_string(),
        };
        list.iter().enumerate().map(|pair| (name(pair), pair.1)).collect()
    }

    /// All in one line.
    fn inline(&self) -> String {
        let values = self.values.iter().map(|(key, value)| format!("{key} = {value}"));
        let tables = self.tables.iter().map(|(key, table)| format!("{key} = {}", table.inline()));
        format!("{{ {} }}", values.chain(tables).collect::<Vec<_>>().join(", "))
    }
}

/// A place in a file, for people and without the names of list elements.
#[derive(Clone, Default)]
struct Path {
    shown: String,
    kind: String,
}

impl Path {
    fn join(path: &str, key: &str) -> String {
        if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
    }

    fn key(&self, key: &str) -> Self {
        Self { shown: Self::join(&self.shown, key), kind: Self::join(&self.kind, key) }
    }

    fn element(&self, name: &str) -> Self {
        Self { shown: Self::join(&self.shown, name), kind: self.kind.clone() }
    }
}

/// The names in two lists, each once, those of the second last.
fn both<'a, T>(old: &'a [(String, T)], new: &'a [(String, T)]) -> Vec<&'a String> {
    let mut seen = BTreeSet::new();
    old.iter().chain(new).map(|(name, _)| name).filter(|name| seen.insert(*name)).collect()
}

fn find<'a, T>(list: &'a [(String, T)], name: &str) -> Option<&'a T> {
    list.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn compare(path: &Path, old: &Section, new: &Section, found: &mut Vec<Restart>) {
    for key in both(&old.values, &new.values) {
        let at = path.key(key);
        let [before, after] = [old, new].map(|section| section.value(key).cloned());
        let effective = |value: &Option<String>| value.clone().or_else(|| default_of(&at.kind));
        if effective(&before) != effective(&after) {
            let old = before.or_else(|| default_of(&at.kind));
            found.push(Restart { old, new: after.or_else(|| default_of(&at.kind)), key: at.shown });
        }
    }
    let empty = Section::default();
    for key in both(&old.tables, &new.tables) {
        let [old, new] = [old, new].map(|section| find(&section.tables, key).unwrap_or(&empty));
        compare(&path.key(key), old, new, found);
    }
    for key in both(&old.lists, &new.lists) {
        let at = path.key(key);
        let lists = [old, new].map(|section| find(&section.lists, key).map_or(&[][..], |l| l));
        let [old, new] = lists.map(Section::named);
        for name in both(&old, &new) {
            let at = at.element(name);
            match (find(&old, name), find(&new, name)) {
                (Some(old), Some(new)) => compare(&at, old, new, found),
                (old, new) => found.push(Restart {
                    key: at.shown,
                    old: old.map(|section| section.inline()),
                    new: new.map(|section| section.inline()),
                }),
            }
        }
    }
}

/// What a key is when it is left out, where that is always the same.
fn default_of(kind: &str) -> Option<String> {
    Some(match kind {
        "cpu.main-core" => defaults::MAIN_CORE.to_string(),
        "cpu.workers" => defaults::WORKERS.to_string(),
        "dpdk.hugepages" => quoted("auto"),
        "dpdk.buffers-per-numa" => defaults::BUFFERS_PER_NUMA.to_string(),
        "dpdk.eal-args" => "[]".to_owned(),
        "dpdk.dev.num-rx-queues" => defaults::NUM_RX_QUEUES.to_string(),
        "dpdk.dev.num-rx-desc" | "dpdk.dev.num-tx-desc" => defaults::NUM_DESC.to_string(),
        "unix.cli-listen" => quoted(defaults::CLI_LISTEN),
        _ => return None,
    })
}

/// A value as TOML, written always alike.
fn rendered(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(integer) => i128::from_str_radix(integer.as_str(), integer.radix())
            .map_or_else(|_| integer.as_str().to_owned(), |number| number.to_string()),
        DeValue::Float(float) => float.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(array) => {
            let values: Vec<_> = array.iter().map(|value| rendered(value.get_ref())).collect();
            format!("[{}]", values.join(", "))
        }
        DeValue::Table(table) => Section::read(table).inline(),
    }
}

/// A TOML string.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use crate::Startup;

    const START: &str = "\
[cpu]
workers = 2
[dpdk]
eal-args = ['--log-level=lib.eal:debug']
[[dpdk.dev]]
name = \"left0\"
vdev = \"net_null0\"
num-rx-desc = 1_024
[unix]
exec = \"/etc/a\"
[punt]
tap = \"sluice0\"
[lb]
timeout = 50
";

    fn restarts(text: &str) -> Vec<String> {
        let fixed = |text| Startup::parse(text).unwrap().fixed;
        fixed(START).restarts(&fixed(text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_takes_a_restart_is_named_with_both_values() {
        assert!(restarts(START).is_empty());
        let changed = START
            .replace("workers = 2", "workers = 1")
            .replace("[[dpdk", "[[dpdk.dev]]\nname = \"right0\"\nvdev = \"net_null1\"\n[[dpdk")
            .replace("net_null0\"", "net_null7\"")
            .replace("[punt]\ntap = \"sluice0\"\n", "")
            .replace("exec = \"/etc/a\"", "cli-listen = \"/tmp/s\"");
        assert_eq!(
            restarts(&changed),
            [
                "restart needed: cpu.workers 2 → 1",
                "restart needed: dpdk.dev.left0.vdev \"net_null0\" → \"net_null7\"",
                "restart needed: dpdk.dev.right0 (not set) → { name = \"right0\", \
                 vdev = \"net_null1\" }",
                "restart needed: punt.tap \"sluice0\" → (not set)",
                "restart needed: unix.cli-listen \"/run/sluice/cli.sock\" → \"/tmp/s\"",
            ]
        );
    }

    #[test]
    fn another_way_to_write_the_same_takes_no_restart() {
        let same = START
            .replace("num-rx-desc = 1_024\n", "")
            .replace("workers = 2", "workers = 0b10\nmain-core = 0")
            .replace("'--log-level=lib.eal:debug'", "\"--log-level=lib.eal:debug\",")
            .replace("timeout = 50", "timeout = 60")
            .replace("/etc/a", "/etc/b");
        assert_eq!(restarts(&same), [""; 0]);
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let text = START.replace("net_null0", "net_null0,a=\\\"b\\\\c");
        let startup = Startup::parse(&text).unwrap();
        let written = startup.fixed.to_toml();
        assert!(written.contains("\n# part of this file: exec = \"/etc/a\"\n"), "{written}");
        let again = Startup::parse(&written).unwrap();
        assert_eq!(startup.fixed.restarts(&again.fixed), []);
        assert_eq!((again.cpu, again.dpdk, again.punt), (startup.cpu, startup.dpdk, startup.punt));
        assert_eq!(again.unix.exec, None);
    }
}
