//! `lb conf`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use config::{
    FlowTimeouts, LbConf, NoMatch, Problem, Spanned, SrcEntropy, TooBig, TunnelDf, TunnelDscp,
    TunnelEcn, defaults,
};

use super::Model;
use super::apply_address::unroutable;

/// The settings of the load balancer as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LbSettings {
    /// `ip4-src-address`.
    pub ip4_src_address: Option<Ipv4Addr>,
    /// `ip6-src-address`.
    pub ip6_src_address: Option<Ipv6Addr>,
    /// Sticky buckets per worker.
    pub buckets: u32,
    /// How long flows live, where that is not the default; VIPs may say otherwise.
    pub timeouts: FlowTimeouts,
    /// Where the key of the flow hash comes from.
    pub hash_key_file: Option<PathBuf>,
    /// TTL or hop limit of outer headers.
    pub tunnel_ttl: u8,
    /// DSCP of outer headers.
    pub tunnel_dscp: TunnelDscp,
    /// ECN of outer headers.
    pub tunnel_ecn: TunnelEcn,
    /// DF of outer IPv4 headers.
    pub tunnel_df: TunnelDf,
    /// Packets that do not fit with their outer header.
    pub too_big: TooBig,
    /// UDP destination port of GUE.
    pub gue_port: u16,
    /// Varying IPv4 outer sources.
    pub ip4_src_entropy: SrcEntropy,
    /// Varying IPv6 outer sources.
    pub ip6_src_entropy: SrcEntropy,
    /// Packets to a VIP's address that no VIP takes.
    pub no_match: NoMatch,
}

impl Default for LbSettings {
    fn default() -> Self {
        Self {
            ip4_src_address: None,
            ip6_src_address: None,
            buckets: defaults::BUCKETS,
            timeouts: FlowTimeouts::default(),
            hash_key_file: None,
            tunnel_ttl: defaults::TUNNEL_TTL,
            tunnel_dscp: TunnelDscp::Copy,
            tunnel_ecn: TunnelEcn::Rfc6040,
            tunnel_df: TunnelDf::Copy,
            too_big: TooBig::Drop,
            gue_port: defaults::GUE_PORT,
            ip4_src_entropy: SrcEntropy::Off,
            ip6_src_entropy: SrcEntropy::Off,
            no_match: NoMatch::Drop,
        }
    }
}

impl Model {
    pub(super) fn lb_conf(&mut self, conf: &LbConf) -> Result<(), Problem> {
        let source = |address: std::net::IpAddr, span| match unroutable(address) {
            Some(why) => {
                Err(Problem::new(span, format!("{address} cannot be a source address: {why}")))
            }
            None => Ok(()),
        };
        if let Some(address) = &conf.ip4_src_address {
            source(address.value.into(), address.span)?;
        }
        if let Some(address) = &conf.ip6_src_address {
            source(address.value.into(), address.span)?;
        }
        for entropy in [conf.ip4_src_entropy, conf.ip6_src_entropy].into_iter().flatten() {
            if let SrcEntropy::Prefix(prefix) = entropy.value {
                source(prefix.address(), entropy.span)?;
            }
        }
        if let Some(policy) = &conf.no_match {
            self.check_policy(policy)?;
        }
        self.lb.settings.change(conf);
        Ok(())
    }

    /// Packets can only be handed to the kernel where there is a way to it.
    pub(super) fn check_policy(&self, policy: &Spanned<NoMatch>) -> Result<(), Problem> {
        if policy.value != NoMatch::Punt || self.punt().is_some() {
            return Ok(());
        }
        Err(config::punt_needs_tap(policy.span))
    }
}

impl LbSettings {
    /// Takes over what `conf` says.
    fn change(&mut self, conf: &LbConf) {
        fn set<T: Clone>(setting: &mut T, given: &Option<Spanned<T>>) {
            if let Some(given) = given {
                *setting = given.value.clone();
            }
        }
        self.ip4_src_address = conf.ip4_src_address.map(|v| v.value).or(self.ip4_src_address);
        self.ip6_src_address = conf.ip6_src_address.map(|v| v.value).or(self.ip6_src_address);
        set(&mut self.buckets, &conf.buckets);
        self.timeouts = conf.timeouts.onto(&self.timeouts).unusual();
        if let Some(path) = &conf.hash_key_file {
            self.hash_key_file = Some(path.value.clone());
        }
        set(&mut self.tunnel_ttl, &conf.tunnel_ttl);
        set(&mut self.tunnel_dscp, &conf.tunnel_dscp);
        set(&mut self.tunnel_ecn, &conf.tunnel_ecn);
        set(&mut self.tunnel_df, &conf.tunnel_df);
        set(&mut self.too_big, &conf.too_big);
        set(&mut self.gue_port, &conf.gue_port);
        set(&mut self.ip4_src_entropy, &conf.ip4_src_entropy);
        set(&mut self.ip6_src_entropy, &conf.ip6_src_entropy);
        set(&mut self.no_match, &conf.no_match);
    }

    /// `lb conf` with what differs from the defaults.
    pub fn command(&self) -> Option<LbConf> {
        fn other<T: PartialEq + Clone>(value: &T, default: &T) -> Option<Spanned<T>> {
            (value != default).then(|| value.clone().into())
        }
        let default = Self::default();
        let conf = LbConf {
            ip4_src_address: self.ip4_src_address.map(Into::into),
            ip6_src_address: self.ip6_src_address.map(Into::into),
            buckets: other(&self.buckets, &default.buckets),
            timeouts: self.timeouts,
            hash_key_file: self.hash_key_file.clone().map(Into::into),
            tunnel_ttl: other(&self.tunnel_ttl, &default.tunnel_ttl),
            tunnel_dscp: other(&self.tunnel_dscp, &default.tunnel_dscp),
            tunnel_ecn: other(&self.tunnel_ecn, &default.tunnel_ecn),
            tunnel_df: other(&self.tunnel_df, &default.tunnel_df),
            too_big: other(&self.too_big, &default.too_big),
            gue_port: other(&self.gue_port, &default.gue_port),
            ip4_src_entropy: other(&self.ip4_src_entropy, &default.ip4_src_entropy),
            ip6_src_entropy: other(&self.ip6_src_entropy, &default.ip6_src_entropy),
            no_match: other(&self.no_match, &default.no_match),
        };
        (conf != LbConf::default()).then_some(conf)
    }
}
