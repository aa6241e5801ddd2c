//! Fragments: where the first of a datagram went, the others follow; those that come before it wait
//! a little.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::encap::Load;
use super::error::Error;
use super::ip::Header;
use super::model::{NewFlowOrder, Reference, Transit};
use super::reason;
use super::service::VipKey;
use super::upper::{Fragment, Tuple, Upper};

/// How long the way of a first fragment is remembered, in seconds.
const REMEMBERED_S: u32 = 5;
/// How long others wait for it.
const WAITING_S: u32 = 1;
/// Datagrams of which fragments wait.
const DATAGRAMS_MAX: usize = 64;
/// Fragments of one datagram that wait.
const PER_DATAGRAM_MAX: usize = 8;

/// Which datagram a fragment is of (RFC 791 §3.2, RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Datagram {
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    /// 0 for IPv6, whose fragments need not agree about it.
    protocol: u8,
}

/// Where a first fragment went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To an AS of a VIP.
    Server(VipKey, IpAddr),
    /// From an AS of a VIP, in the name of this address.
    As(VipKey, IpAddr),
    /// From an AS, in its own name.
    Itself,
}

/// What is remembered, and when it is forgotten.
pub(super) type Memory = BTreeMap<Datagram, (Place, u32)>;
/// Fragments that wait: of what, since when.
pub(super) type Waiting = Vec<(Datagram, u32, Transit)>;

fn datagram(transit: &Transit, upper: &Upper, fragment: Fragment) -> Datagram {
    let header = Header::of(&transit.packet);
    Datagram {
        source: header.source,
        destination: header.destination,
        id: fragment.id,
        protocol: if header.v6 { 0 } else { upper.protocol },
    }
}

/// Lets a fragment wait, or tells that there is no room.
fn wait(waiting: &mut Waiting, datagram: Datagram, now_s: u32, transit: Transit) -> bool {
    let same = waiting.iter().filter(|(other, ..)| *other == datagram).count();
    let mut others: Vec<Datagram> = waiting.iter().map(|(other, ..)| *other).collect();
    others.sort_unstable();
    others.dedup();
    let room = if same > 0 { same < PER_DATAGRAM_MAX } else { others.len() < DATAGRAMS_MAX };
    if room {
        waiting.push((datagram, now_s, transit));
    }
    room
}

/// Takes out the fragments of one datagram.
fn take(waiting: &mut Waiting, datagram: Datagram) -> Vec<Transit> {
    let (taken, kept) = std::mem::take(waiting).into_iter().partition(|(d, ..)| *d == datagram);
    *waiting = kept;
    let taken: Waiting = taken;
    taken.into_iter().map(|(.., transit)| transit).collect()
}

impl Reference {
    pub(super) fn remember_to_server(
        &mut self,
        transit: &Transit,
        upper: &Upper,
        fragment: Fragment,
        place: Place,
    ) {
        let (key, dies_s) = (datagram(transit, upper, fragment), self.now_s + REMEMBERED_S);
        let v6 = key.source.is_ipv6();
        self.family(v6).to_servers.insert(key, (place, dies_s));
    }

    /// The first fragment is on its way: so are those that waited for it.
    pub(super) fn release_to_server(
        &mut self,
        transit: &Transit,
        upper: &Upper,
        table: &dyn NewFlowOrder,
    ) {
        let Some(fragment) = upper.fragment else { return };
        let key = datagram(transit, upper, fragment);
        let v6 = key.source.is_ipv6();
        for held in take(&mut self.family(v6).early_to_servers, key) {
            self.out.count(reason::of(v6).fragments_released);
            let upper = Upper::of(&held.packet).expect("it was read");
            self.later_to_server(held, &upper, table);
        }
    }

    /// A fragment without ports, to a VIP.
    pub(super) fn later_to_server(
        &mut self,
        transit: Transit,
        upper: &Upper,
        table: &dyn NewFlowOrder,
    ) {
        let header = Header::of(&transit.packet);
        let (texts, now_s) = (reason::of(header.v6), self.now_s);
        let key = datagram(&transit, upper, upper.fragment.expect("it is one"));
        let family = self.family(header.v6);
        let place = family.to_servers.get(&key).filter(|(_, dies_s)| now_s < *dies_s);
        let Some((Place::Server(vip, server), _)) = place.copied() else {
            return if wait(&mut family.early_to_servers, key, now_s, transit) {
                self.out.count(texts.fragment_held);
            } else {
                self.out.drop(texts.fragments_full);
            };
        };
        let Some(vip) = self.config.vip(&vip).cloned() else {
            return self.out.drop(texts.fragment_alone);
        };
        let decrements = self.server(&vip, server).is_some_and(|s| s.method.decrements());
        if header.ttl <= 1 && decrements {
            self.out.count(texts.vip_ttl_expired);
            return self.error(transit, Error::TimeExceeded, table);
        }
        let tuple = Tuple::of(&transit.packet, upper).expect("it has no ports");
        self.send_to_server(&transit, &vip, server, &tuple, &Load::Later, table);
    }

    /// Remembers in whose name the first fragment from an AS went on, and sends the others after
    /// it.
    pub(super) fn remember_from_server(&mut self, transit: &Transit, upper: &Upper, place: Place) {
        let Some(fragment) = upper.fragment.filter(|_| self.scope.fragments) else { return };
        let (key, dies_s) = (datagram(transit, upper, fragment), self.now_s + REMEMBERED_S);
        let v6 = key.source.is_ipv6();
        // Of two datagrams with the same identification the newer one counts, both ways.
        self.family(v6).to_servers.remove(&key);
        self.family(v6).from_servers.insert(key, (place, dies_s));
    }

    /// As [`Self::release_to_server`], the other way.
    pub(super) fn release_from_server(
        &mut self,
        transit: &Transit,
        upper: &Upper,
        table: &dyn NewFlowOrder,
    ) {
        let Some(fragment) = upper.fragment.filter(|_| self.scope.fragments) else { return };
        let key = datagram(transit, upper, fragment);
        let v6 = key.source.is_ipv6();
        for held in take(&mut self.family(v6).early_from_servers, key) {
            self.out.count(reason::of(v6).reply_fragments_released);
            let upper = Upper::of(&held.packet).expect("it was read");
            self.later_from_server(held, &upper, table);
        }
    }

    /// A fragment without ports, from an AS.
    pub(super) fn later_from_server(
        &mut self,
        transit: Transit,
        upper: &Upper,
        table: &dyn NewFlowOrder,
    ) {
        let header = Header::of(&transit.packet);
        let (texts, now_s) = (reason::of(header.v6), self.now_s);
        let key = datagram(&transit, upper, upper.fragment.expect("it is one"));
        let family = self.family(header.v6);
        let place = family.from_servers.get(&key).filter(|(_, dies_s)| now_s < *dies_s);
        match place.copied() {
            Some((Place::As(_, address), _)) => {
                self.reply_as(transit, upper, None, (address, None), table);
            }
            Some(_) => self.lookup(transit, table),
            None if wait(&mut family.early_from_servers, key, now_s, transit) => {
                self.out.count(texts.reply_fragment_held);
            }
            None => self.out.drop(texts.reply_fragments_full),
        }
    }

    /// Drops those that waited too long.
    pub(super) fn expire_fragments(&mut self, v6: bool) {
        let now_s = self.now_s;
        let texts = reason::of(v6);
        let old = |(_, since_s, _): &(Datagram, u32, Transit)| now_s - since_s >= WAITING_S;
        let family = self.family(v6);
        let to = family.early_to_servers.iter().filter(|one| old(one)).count();
        let from = family.early_from_servers.iter().filter(|one| old(one)).count();
        family.early_to_servers.retain(|one| !old(one));
        family.early_from_servers.retain(|one| !old(one));
        (0..to).for_each(|_| self.out.drop(texts.fragment_alone));
        (0..from).for_each(|_| self.out.drop(texts.reply_fragment_alone));
    }

    /// Forgets the datagrams to and from ASs whose flows have ended all at once.
    pub(super) fn forget_fragments(&mut self, ended: impl Fn(VipKey, IpAddr) -> bool) {
        for worker in &mut self.workers {
            for family in [&mut worker.ip4, &mut worker.ip6] {
                family.to_servers.retain(|_, (place, _)| match place {
                    Place::Server(vip, server) => !ended(*vip, *server),
                    Place::As(..) | Place::Itself => true,
                });
                family.from_servers.retain(|datagram, (place, _)| match place {
                    Place::As(vip, _) => !ended(*vip, datagram.source),
                    Place::Server(..) | Place::Itself => true,
                });
            }
        }
    }
}
