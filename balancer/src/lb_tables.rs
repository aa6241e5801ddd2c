//! The load balancer's part of a snapshot: everything a worker needs to decide, immutable.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::application_server::{ApplicationServer, AsId, MAX_WEIGHT, ServerState};
use crate::hash::FlowHasher;
use crate::nat_reverse::{Candidate, ReverseEntry, ReverseMap};
use crate::new_flow_cache::NewFlowCache;
use crate::new_flow_table::{Member, NewFlowTableError};
use crate::tcp_state::Timeouts;
use crate::vip::{Vip, VipId, VipKey, VipSpec};
use crate::vip_table::VipTable;

/// The load balancer as workers see it. Control builds a new one for each change; new-flow tables
/// that did not change are shared with the one before.
#[derive(Clone, Debug)]
pub struct LbTables {
    /// VIPs by id.
    pub vips: Box<[Option<Vip>]>,
    /// ASs by id, tombstones included.
    pub servers: Box<[Option<ApplicationServer>]>,
    /// VIPs by address, protocol and port.
    pub vip_index: VipTable,
    /// VIPs by the services of their ASs.
    pub reverse: ReverseMap,
    /// The cluster's flow hash.
    pub hasher: FlowHasher,
    /// How long flows live.
    pub timeouts: Timeouts,
}

/// What [`LbTables`] are built from.
#[derive(Clone, Debug)]
pub struct LbConfig<'a> {
    /// All VIPs, in any order.
    pub vips: &'a [VipSpec],
    /// All ASs, tombstones included, in any order.
    pub servers: &'a [ApplicationServer],
    /// The cluster's flow hash.
    pub hasher: FlowHasher,
    /// How long flows live.
    pub timeouts: Timeouts,
}

/// A configuration that makes no sense. Commands check for all of this before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LbTablesError {
    /// Two VIPs with one id.
    #[error("VIP {0} is there twice")]
    DuplicateVip(VipId),
    /// Two VIPs with one address, protocol and port.
    #[error("two VIPs are {0}")]
    DuplicateKey(VipKey),
    /// Two ASs with one id, or a VIP with two ASs of one address.
    #[error("AS {0} is there twice")]
    DuplicateServer(AsId),
    /// An AS of a VIP that is not there.
    #[error("AS {0} serves a VIP that is not there")]
    NoSuchVip(AsId),
    /// A weight above 100.
    #[error("the weight of AS {0} is above 100")]
    Weight(AsId),
    /// A new-flow table that cannot be built; the checks above find all of these before.
    #[error(transparent)]
    Table(#[from] NewFlowTableError),
}

impl LbTables {
    /// Tables without any VIP.
    #[must_use]
    pub fn empty(hasher: FlowHasher, timeouts: Timeouts) -> Self {
        Self {
            vips: Box::default(),
            servers: Box::default(),
            vip_index: VipTable::new([].into_iter()),
            reverse: ReverseMap::empty(),
            hasher,
            timeouts,
        }
    }

    /// The tables of a configuration.
    ///
    /// `previous` are the tables in use, so that direct flows survive; `cache` holds the new-flow
    /// tables in use. Time grows with the VIPs and ASs, but only sets of ASs that are new to the
    /// cache cost a fill.
    ///
    /// # Errors
    ///
    /// When ids or keys clash, an AS has no VIP or too large a weight.
    pub fn build(
        config: &LbConfig<'_>,
        previous: &Self,
        cache: &mut NewFlowCache,
    ) -> Result<Self, LbTablesError> {
        let servers = by_id(config.servers)?;
        let by_vip = group_by_vip(config)?;
        let reverse = ReverseMap::build(&reverse_entries(config, &by_vip), &previous.reverse);

        let length = config.vips.iter().map(|vip| vip.id.index() + 1).max().unwrap_or(0);
        let mut vips: Box<[Option<Vip>]> = vec![None; length].into();
        let mut keys: HashMap<VipKey, VipId> = HashMap::with_capacity(config.vips.len());
        for spec in config.vips {
            let slot = &mut vips[spec.id.index()];
            if slot.is_some() {
                return Err(LbTablesError::DuplicateVip(spec.id));
            }
            if keys.insert(spec.key, spec.id).is_some() {
                return Err(LbTablesError::DuplicateKey(spec.key));
            }
            let own = by_vip.get(&spec.id).map_or(&[][..], Vec::as_slice);
            *slot = Some(vip(spec, own, &reverse, &config.hasher, cache)?);
        }
        cache.forget_unused();
        Ok(Self {
            vips,
            servers,
            vip_index: VipTable::new(config.vips.iter().map(|vip| (vip.key, vip.id))),
            reverse,
            hasher: config.hasher.clone(),
            timeouts: config.timeouts,
        })
    }

    /// A VIP by id.
    #[must_use]
    pub fn vip(&self, id: VipId) -> Option<&Vip> {
        self.vips.get(id.index())?.as_ref()
    }

    /// An AS by id.
    #[must_use]
    pub fn server(&self, id: AsId) -> Option<&ApplicationServer> {
        self.servers.get(id.index())?.as_ref()
    }

    /// The epoch of an AS; its flow entries with another one are dead.
    #[must_use]
    pub fn epoch_of(&self, id: AsId) -> Option<u8> {
        self.server(id).map(|server| server.epoch)
    }
}

fn by_id(servers: &[ApplicationServer]) -> Result<Box<[Option<ApplicationServer>]>, LbTablesError> {
    let length = servers.iter().map(|server| server.id.index() + 1).max().unwrap_or(0);
    let mut by_id: Box<[Option<ApplicationServer>]> = vec![None; length].into();
    for server in servers {
        if by_id[server.id.index()].replace(*server).is_some() {
            return Err(LbTablesError::DuplicateServer(server.id));
        }
    }
    Ok(by_id)
}

/// The ASs of each VIP in the order of their addresses.
fn group_by_vip<'a>(
    config: &LbConfig<'a>,
) -> Result<HashMap<VipId, Vec<&'a ApplicationServer>>, LbTablesError> {
    let mut by_vip: HashMap<VipId, Vec<&ApplicationServer>> =
        config.vips.iter().map(|vip| (vip.id, Vec::new())).collect();
    for server in config.servers {
        if server.weight > MAX_WEIGHT {
            return Err(LbTablesError::Weight(server.id));
        }
        by_vip.get_mut(&server.vip).ok_or(LbTablesError::NoSuchVip(server.id))?.push(server);
    }
    for servers in by_vip.values_mut() {
        servers.sort_unstable_by_key(|server| server.address);
        if let Some(pair) = servers.windows(2).find(|pair| pair[0].address == pair[1].address) {
            return Err(LbTablesError::DuplicateServer(pair[1].id));
        }
    }
    Ok(by_vip)
}

fn reverse_entries(
    config: &LbConfig<'_>,
    by_vip: &HashMap<VipId, Vec<&ApplicationServer>>,
) -> Vec<ReverseEntry> {
    let mut entries = Vec::with_capacity(config.servers.len());
    for spec in config.vips {
        for server in by_vip.get(&spec.id).into_iter().flatten() {
            entries.push(ReverseEntry {
                address: server.address,
                port: spec.target_port,
                protocol: spec.key.protocol,
                candidate: Candidate { vip: spec.id, as_id: server.id },
            });
        }
    }
    entries
}

/// `servers` are the VIP's, in the order of their addresses.
fn vip(
    spec: &VipSpec,
    servers: &[&ApplicationServer],
    reverse: &ReverseMap,
    hasher: &FlowHasher,
    cache: &mut NewFlowCache,
) -> Result<Vip, LbTablesError> {
    let takes_flows =
        |server: &&&ApplicationServer| server.state == ServerState::Active && server.weight > 0;
    let members: Vec<Member> = servers
        .iter()
        .filter(takes_flows)
        .map(|server| Member { address: IpAddr::V4(server.address), weight: server.weight })
        .collect();
    let table = cache.table(&members, spec.length, hasher.table_seed())?;
    let shared_reverse = servers.iter().any(|server| {
        reverse
            .get(server.address, spec.target_port, spec.key.protocol)
            .is_some_and(|endpoint| endpoint.is_shared())
    });
    Ok(Vip {
        id: spec.id,
        key: spec.key,
        target_port: spec.target_port,
        src_ip_sticky: spec.src_ip_sticky,
        shared_reverse,
        table,
        members: servers.iter().filter(takes_flows).map(|server| server.id).collect::<Arc<[_]>>(),
    })
}
