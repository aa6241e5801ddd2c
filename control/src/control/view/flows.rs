//! `show lb flows`: the sticky tables of the workers, read by pages, without their taking notice.

use std::collections::BTreeSet;
use std::net::IpAddr;

use balancer::{FlowEntry, KeyKind, Protocol, StickyTable};
use config::{Command, FlowsCursor, FlowsQuery, Prefix, Problem, Show, defaults};

use crate::control::Control;
use crate::model::{Network, not_a_server};
use crate::show::flows::{FlowLine, Flows};

/// Buckets looked at in one go; others are served between two goes.
const SLICE_BUCKETS: usize = 4_096;
/// Buckets looked at for a page.
const PAGE_BUCKETS: usize = 65_536;

/// A page that is being put together.
#[derive(Debug)]
pub struct FlowsPage {
    query: FlowsQuery,
    /// The VIPs asked for; `None` is all.
    vips: Option<BTreeSet<u32>>,
    /// Position of the worker and of the entry in its table.
    at: (usize, usize),
    buckets_read: usize,
    rows: Vec<FlowLine>,
    without_client: u64,
    /// All tables were looked at.
    ended: bool,
}

impl FlowsPage {
    fn limit(&self) -> usize {
        self.query.limit.map_or(defaults::FLOWS_LIMIT, |limit| limit.value) as usize
    }

    fn is_full(&self) -> bool {
        self.ended || self.rows.len() >= self.limit() || self.buckets_read >= PAGE_BUCKETS
    }

    /// The page, with the way to the next one.
    pub fn finish(self) -> Flows {
        let (worker, entry) = self.at;
        let cursor = FlowsCursor { thread: worker as u16 + 1, entry: entry as u32 };
        let cursor = Some(cursor).filter(|_| !self.ended);
        let next = cursor.map(|cursor| {
            let query = FlowsQuery { cursor: Some(cursor.into()), ..self.query };
            Command::Show { show: Show::LbFlows(query), json: false }.to_string()
        });
        Flows {
            flows: self.rows,
            without_client: self.without_client,
            buckets_read: self.buckets_read as u64,
            cursor: cursor.map(|cursor| cursor.to_string()),
            next,
        }
    }
}

fn holds(prefix: Prefix, address: IpAddr) -> bool {
    Network::new(prefix.address(), prefix.length()).contains(address)
}

/// The name of a flow's state.
fn state_word(entry: &FlowEntry) -> String {
    let name = format!("{:?}", entry.value().state());
    let mut word = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_uppercase() && at > 0 {
            word.push('-');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

impl Control {
    /// `show lb flows`, a whole page at once.
    ///
    /// # Errors
    ///
    /// A VIP, an AS or a thread that there is not.
    pub fn flows(&self, query: &FlowsQuery) -> Result<Flows, Problem> {
        let mut page = self.flows_page(query)?;
        while self.read_flows(&mut page) {}
        Ok(page.finish())
    }

    /// Begins a page.
    ///
    /// # Errors
    ///
    /// As [`Self::flows`].
    pub fn flows_page(&self, query: &FlowsQuery) -> Result<FlowsPage, Problem> {
        let vips = query.vip.as_ref().map(|key| self.vips_named(key)).transpose()?;
        let lb = &self.model.lb;
        let asked: Vec<_> = match &vips {
            Some(vips) => vips.iter().filter_map(|vip| lb.vips.get(*vip)).collect(),
            None => lb.vips.values().collect(),
        };
        if let Some(server) = query.server
            && !asked.iter().any(|vip| vip.server(server.value).is_some())
        {
            return Err(match &asked[..] {
                [vip] => not_a_server(vip, &server),
                _ => Problem::new(server.span, format!("no VIP has an AS {server}"))
                    .with_hint("`show lb as` lists the ASs"),
            });
        }
        let mut at = (0, 0);
        if let Some(cursor) = query.cursor {
            let threads = self.workers.len();
            if usize::from(cursor.thread) > threads {
                let reason = format!("there is no worker thread {}", cursor.thread);
                return Err(Problem::new(cursor.span, reason)
                    .with_hint(format!("the last one is {threads}")));
            }
            at = (usize::from(cursor.thread) - 1, cursor.entry as usize);
        }
        let (query, rows) = (*query, Vec::new());
        let (buckets_read, without_client, ended) = (0, 0, false);
        Ok(FlowsPage { query, vips, at, buckets_read, rows, without_client, ended })
    }

    /// The VIPs that a key names; one without ports names all of its prefix.
    fn vips_named(&self, key: &config::VipKey) -> Result<BTreeSet<u32>, Problem> {
        let network = Network::new(key.prefix.address(), key.prefix.length());
        let of_prefix: BTreeSet<u32> =
            self.model.lb.on_prefix(network).map(|vip| vip.index).collect();
        match key.port {
            None if !of_prefix.is_empty() => Ok(of_prefix),
            _ => Ok([self.model.vip_index(key)?].into()),
        }
    }

    /// Goes on with a page for a while; returns whether it is still to be gone on with.
    pub fn read_flows(&self, page: &mut FlowsPage) -> bool {
        let tables: Vec<_> = self.resize.tables(&self.workers).collect();
        for _ in 0..SLICE_BUCKETS {
            if page.is_full() {
                return false;
            }
            // The entries of a worker's tables one after the other, while it has several.
            let (worker, mut entry) = page.at;
            let own = tables.iter().filter(|(of, _)| *of == worker).map(|(_, table)| &***table);
            let table = own.into_iter().find(|table| {
                let is_here = entry < table.capacity();
                entry -= if is_here { 0 } else { table.capacity() };
                is_here
            });
            match table {
                Some(table) => self.read_bucket(page, table, entry),
                None => {
                    page.at = (worker + 1, 0);
                    page.ended = worker + 1 >= self.workers.len();
                }
            }
        }
        !page.is_full()
    }

    /// Looks at the rest of a bucket, from this entry of the table on, until the page is full.
    fn read_bucket(&self, page: &mut FlowsPage, table: &StickyTable, first: usize) {
        let end = (first / StickyTable::WAYS + 1) * StickyTable::WAYS;
        page.buckets_read += 1;
        for at in first..end {
            let worker = page.at.0;
            page.at.1 += 1;
            let row = table.entry(at).and_then(|entry| self.flow_line(page, worker, &entry));
            page.rows.extend(row);
            if page.rows.len() >= page.limit() {
                return;
            }
        }
    }

    /// A flow that is alive and wanted.
    fn flow_line(
        &self,
        page: &mut FlowsPage,
        worker: usize,
        entry: &FlowEntry,
    ) -> Option<FlowLine> {
        let (value, now_s) = (entry.value(), self.tick_s());
        if !value.is_live(now_s) {
            return None;
        }
        let tables = self.compiler.lb.tables();
        let tuple = entry.tuple();
        let vip = match entry.vip() {
            Some(id) => Some(self.model.lb.vips.get(id.get())?),
            None => None,
        };
        if page.vips.as_ref().is_some_and(|vips| vip.is_none_or(|v| !vips.contains(&v.index))) {
            return None;
        }
        let (server, kind) = match (entry.vip(), tuple) {
            (Some(id), _) => {
                let server = tables.server(value.as_id())?;
                let is_alive = server.epoch == value.epoch();
                (server.address, tables.vip(id).filter(|_| is_alive)?.key_kind())
            }
            (None, tuple) => (tuple?.dst, KeyKind::Full),
        };
        if page.query.server.is_some_and(|wanted| wanted.value != server) {
            return None;
        }
        let client = entry.client(kind);
        if let Some(wanted) = page.query.client {
            page.without_client += u64::from(client.is_none());
            client.filter(|(address, _)| holds(wanted.value, *address))?;
        }
        let of_vip = vip.and_then(|vip| vip.key.ports.protocol()).map(Protocol::number);
        let protocol = tuple.map(|tuple| tuple.protocol).or(of_vip);
        Some(FlowLine {
            thread: worker + 1,
            protocol: protocol.map(protocol_word),
            client: client.map(|(address, _)| address),
            client_port: client.map(|(_, port)| port),
            vip_index: vip.map(|vip| vip.index),
            vip: vip.map(|vip| vip.spec.key.to_string()),
            server,
            state: state_word(entry),
            expires_s: value.remaining_s(now_s).max(0) as u32,
        })
    }
}

fn protocol_word(number: u8) -> String {
    let known = [Protocol::Tcp, Protocol::Udp].into_iter().find(|p| p.number() == number);
    known.map_or_else(|| number.to_string(), |protocol| protocol.name().to_owned())
}
