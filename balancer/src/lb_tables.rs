//! The load balancer's part of a snapshot: everything a worker needs to decide, immutable.

use std::collections::HashMap;
use std::sync::Arc;

use crate::application_server::{ApplicationServer, AsId, MAX_WEIGHT, ServerState};
use crate::hash::FlowHasher;
use crate::lb_check::{LbTablesError, check, check_vip};
use crate::nat_reverse::{Candidate, ReverseEntry, ReverseMap};
use crate::new_flow_cache::NewFlowCache;
use crate::new_flow_table::Member;
use crate::ports::Ports;
use crate::prefix::Prefix;
use crate::rotation::Rotation;
use crate::timeouts::{ProfileId, TimeoutProfiles, Timeouts};
use crate::vip::{Scheduler, Vip, VipId, VipSpec};
use crate::vip_groups::{GroupMember, VipGroupId, VipGroups};

/// The load balancer as workers see it. Control makes a new one for each change, which shares with
/// the one before whatever grows and did not change: new-flow tables, VIPs by port, most of the
/// reverse map. What is by index is copied, as workers then find it in one step.
#[derive(Clone, Debug)]
pub struct LbTables {
    /// VIPs by id.
    pub vips: Box<[Option<Vip>]>,
    /// ASs by id, tombstones included.
    pub servers: Box<[Option<ApplicationServer>]>,
    /// VIPs by prefix, protocol and port.
    pub groups: Arc<VipGroups>,
    /// VIPs by the services of their ASs.
    pub reverse: ReverseMap,
    /// The cluster's flow hash.
    pub hasher: FlowHasher,
    /// How long flows live, by the profile of their VIP.
    pub timeouts: TimeoutProfiles,
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
    /// How long flows live, of VIPs without timeouts of their own.
    pub timeouts: Timeouts,
}

/// What one VIP is from now on.
#[derive(Clone, Copy, Debug)]
pub struct VipChange<'a> {
    /// Which.
    pub id: VipId,
    /// The VIP and all its ASs, tombstones included, in any order; `None` when it is no more.
    pub now: Option<(VipSpec, &'a [ApplicationServer])>,
}

impl LbTables {
    /// Tables without any VIP.
    #[must_use]
    pub fn empty(hasher: FlowHasher, timeouts: Timeouts) -> Self {
        Self {
            vips: Box::default(),
            servers: Box::default(),
            groups: Arc::new(VipGroups::new(&[])),
            reverse: ReverseMap::build(Vec::new()),
            hasher,
            timeouts: TimeoutProfiles::new(timeouts),
        }
    }

    /// The tables of a configuration.
    ///
    /// `previous` are the tables in use, so that rotations go on; `cache` holds the new-flow
    /// tables in use. Time grows with the VIPs and ASs, but only sets of ASs that are new to the
    /// cache cost a fill.
    ///
    /// # Errors
    ///
    /// When the configuration is impossible; see [`LbTablesError`].
    pub fn build(
        config: &LbConfig<'_>,
        previous: &Self,
        cache: &mut NewFlowCache,
    ) -> Result<Self, LbTablesError> {
        check(config)?;
        let servers = by_id(config.servers)?;
        let by_vip = group_by_vip(config)?;

        let length = config.vips.iter().map(|vip| vip.id.index() + 1).max().unwrap_or(0);
        let mut vips: Box<[Option<Vip>]> = vec![None; length].into();
        let mut services = Vec::with_capacity(config.servers.len());
        for spec in config.vips {
            let own = by_vip.get(&spec.id).map_or(&[][..], Vec::as_slice);
            let before = previous.vip(spec.id).filter(|vip| vip.key == spec.key);
            let vip = vip(spec, own, before, &config.hasher, cache)?;
            reverse_entries(&vip, own, &mut services)?;
            vips[spec.id.index()] = Some(vip);
        }
        cache.forget_unused();
        let members: Vec<GroupMember> = config.vips.iter().map(GroupMember::from).collect();
        let timeouts = profiles(config.timeouts, &mut vips);
        Ok(Self {
            vips,
            servers,
            groups: Arc::new(VipGroups::new(&members)),
            reverse: ReverseMap::build(services),
            hasher: config.hasher.clone(),
            timeouts,
        })
    }

    /// These tables with some VIPs changed, of which each is named once. The same as
    /// [`build`](Self::build) from the whole configuration, but what it costs depends on the change,
    /// but for copies of arrays.
    ///
    /// VIPs are not compared with those that stay: the caller knows that their ports are apart and
    /// their ids their own.
    ///
    /// # Errors
    ///
    /// When a change is impossible in itself; see [`LbTablesError`].
    pub fn changed(
        &self,
        changes: &[VipChange<'_>],
        cache: &mut NewFlowCache,
    ) -> Result<Self, LbTablesError> {
        let mut tables = self.clone();
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        let (mut regroup, mut retime) = (false, false);
        // All that goes goes first: an AS's index may have a new owner.
        for change in changes {
            let Some(before) = self.vip(change.id) else { continue };
            retime |= before.timeouts.is_some();
            let own = before.servers.iter().filter_map(|id| self.server(*id));
            reverse_entries(before, &own.collect::<Vec<_>>(), &mut gone)?;
            for id in before.servers.iter() {
                tables.servers[id.index()] = None;
            }
        }
        for change in changes {
            let before = self.vip(change.id);
            let after = change.now.as_ref();
            let members = (before.map(GroupMember::from), after.map(|(spec, _)| spec.into()));
            regroup |= members.0 != members.1;
            let after = match after {
                Some((spec, servers)) => {
                    check_vip(spec)?;
                    let own = in_address_order(servers)?;
                    let before = before.filter(|vip| vip.key == spec.key);
                    let vip = vip(spec, &own, before, &self.hasher, cache)?;
                    reverse_entries(&vip, &own, &mut new)?;
                    tables.enter(servers)?;
                    retime |= vip.timeouts.is_some();
                    Some(vip)
                }
                None => None,
            };
            let index = change.id.index();
            if after.is_some() || index < tables.vips.len() {
                lengthen(&mut tables.vips, index + 1);
                tables.vips[index] = after;
            }
        }
        if regroup {
            let members: Vec<_> = tables.vips.iter().flatten().map(GroupMember::from).collect();
            tables.groups = Arc::new(VipGroups::new(&members));
        }
        if retime {
            tables.timeouts = profiles(*self.timeouts.global(), &mut tables.vips);
        }
        tables.reverse = self.reverse.changed(&gone, new);
        Ok(tables)
    }

    /// These tables with other timeouts for the VIPs that have none of their own.
    #[must_use]
    pub fn with_timeouts(&self, global: Timeouts) -> Self {
        let mut tables = self.clone();
        tables.timeouts = profiles(global, &mut tables.vips);
        tables
    }

    /// Puts ASs into places that must be free.
    fn enter(&mut self, servers: &[ApplicationServer]) -> Result<(), LbTablesError> {
        let length = servers.iter().map(|server| server.id.index() + 1).max().unwrap_or(0);
        lengthen(&mut self.servers, length);
        for server in servers {
            if self.servers[server.id.index()].replace(*server).is_some() {
                return Err(LbTablesError::DuplicateServer(server.id));
            }
        }
        Ok(())
    }

    /// The group of VIPs with this very prefix.
    #[must_use]
    pub fn group_of(&self, prefix: Prefix) -> Option<VipGroupId> {
        self.groups.of(prefix)
    }

    /// The VIP of a packet to an address of a group; see [`VipGroups::find`].
    #[must_use]
    pub fn find_vip(&self, group: VipGroupId, protocol: u8, port: u16) -> Option<VipId> {
        self.groups.find(group, protocol, port)
    }

    /// The VIP to which a node port leads, for packets to an address of an interface.
    #[must_use]
    pub fn find_node_port(&self, v6: bool, protocol: u8, port: u16) -> Option<VipId> {
        self.groups.find_node_port(v6, protocol, port)
    }

    /// A VIP by id.
    #[inline]
    #[must_use]
    pub fn vip(&self, id: VipId) -> Option<&Vip> {
        self.vips.get(id.index())?.as_ref()
    }

    /// An AS by id.
    #[inline]
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

/// The timeouts in use; tells the VIPs which are theirs.
fn profiles(global: Timeouts, vips: &mut [Option<Vip>]) -> TimeoutProfiles {
    let own = vips.iter_mut().flatten().map(|vip| (vip.timeouts, &mut vip.profile));
    TimeoutProfiles::collect(global, own)
}

/// Makes room for so many indices.
fn lengthen<T: Clone>(by_index: &mut Box<[Option<T>]>, length: usize) {
    if by_index.len() < length {
        let mut longer = std::mem::take(by_index).into_vec();
        longer.resize(length, None);
        *by_index = longer.into();
    }
}

/// The ASs of one VIP in the order of their addresses, of which each is there once.
fn in_address_order(
    servers: &[ApplicationServer],
) -> Result<Vec<&ApplicationServer>, LbTablesError> {
    if let Some(server) = servers.iter().find(|server| server.weight > MAX_WEIGHT) {
        return Err(LbTablesError::Weight(server.id));
    }
    let mut servers: Vec<_> = servers.iter().collect();
    servers.sort_unstable_by_key(|server| server.address);
    match servers.windows(2).find(|pair| pair[0].address == pair[1].address) {
        Some(pair) => Err(LbTablesError::DuplicateServer(pair[1].id)),
        None => Ok(servers),
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

/// The services behind a VIP, if it is one with NAT.
fn reverse_entries(
    vip: &Vip,
    servers: &[&ApplicationServer],
    entries: &mut Vec<ReverseEntry>,
) -> Result<(), LbTablesError> {
    let Ports::Range { protocol, first, last } = vip.key.ports else { return Ok(()) };
    let Some((first, last)) = vip.target.range(first, last).filter(|_| vip.nat) else {
        return Ok(());
    };
    for server in servers {
        if server.address.is_ipv6() != vip.key.prefix.is_v6() {
            return Err(LbTablesError::Family(server.id));
        }
        entries.push(ReverseEntry {
            address: server.address,
            protocol: protocol.number(),
            first,
            last,
            candidate: Candidate { vip: vip.id, as_id: server.id },
        });
    }
    Ok(())
}

/// `servers` are the VIP's, in the order of their addresses; `previous` is what it was before.
fn vip(
    spec: &VipSpec,
    servers: &[&ApplicationServer],
    previous: Option<&Vip>,
    hasher: &FlowHasher,
    cache: &mut NewFlowCache,
) -> Result<Vip, LbTablesError> {
    let takes_flows =
        |server: &&&ApplicationServer| server.state == ServerState::Active && server.weight > 0;
    let members: Vec<Member> = servers
        .iter()
        .filter(takes_flows)
        .map(|server| Member { address: server.address, weight: server.weight })
        .collect();
    let weighted: Vec<(AsId, u8)> =
        servers.iter().filter(takes_flows).map(|server| (server.id, server.weight)).collect();
    let rotation = (spec.scheduler == Scheduler::RoundRobin)
        .then(|| Rotation::new(&weighted, previous.and_then(|vip| vip.rotation.as_ref())));
    Ok(Vip {
        id: spec.id,
        key: spec.key,
        target: spec.target,
        node_port: spec.node_port,
        src_ip_sticky: spec.src_ip_sticky,
        nat: spec.nat,
        table: cache.table(&members, spec.length, hasher.table_seed())?,
        members: weighted.iter().map(|&(id, _)| id).collect(),
        servers: servers.iter().map(|server| server.id).collect(),
        rotation,
        kind: spec.key_kind(),
        timeouts: spec.timeouts,
        profile: ProfileId::GLOBAL,
    })
}
