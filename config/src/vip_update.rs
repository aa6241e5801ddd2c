//! Changing a VIP that is there.

use crate::vip_rules::check_vip;
use crate::{
    Encap, FlowTimeouts, LbVipAdd, Mss, PortRange, Problem, Scheduler, ServiceType, Span, Spanned,
    VipKey,
};

/// `lb vip … update`: the words that were given; `None` leaves a parameter as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LbVipUpdate {
    /// The VIP; its key never changes.
    pub key: VipKey,
    /// The encap of ASs without one of their own.
    pub encap: Option<Spanned<Encap>>,
    /// Goes by itself when the encap stops being l3dsr.
    pub dscp: Option<Spanned<u8>>,
    /// Can only say what is so already.
    pub service_type: Option<Spanned<ServiceType>>,
    /// Can only say what is so already.
    pub node_port: Option<Spanned<u16>>,
    /// Can only say what is so already.
    pub target_port: Option<Spanned<PortRange>>,
    /// New length of the new-flow table.
    pub new_len: Option<Spanned<u32>>,
    /// Choose the AS of new flows by the client's address only, or no longer.
    pub src_ip_sticky: Option<Spanned<bool>>,
    /// How further flows are given to ASs.
    pub scheduler: Option<Spanned<Scheduler>>,
    /// MSS clamp of further connections.
    pub mss: Option<Spanned<Mss>>,
    /// How long flows live from their next packet on.
    pub timeouts: FlowTimeouts,
    /// A new name for people.
    pub name: Option<Spanned<String>>,
}

impl LbVipUpdate {
    /// An update that changes nothing.
    pub fn new(key: VipKey) -> LbVipUpdate {
        LbVipUpdate {
            key,
            encap: None,
            dscp: None,
            service_type: None,
            node_port: None,
            target_port: None,
            new_len: None,
            src_ip_sticky: None,
            scheduler: None,
            mss: None,
            timeouts: FlowTimeouts::default(),
            name: None,
        }
    }

    /// What `vip` becomes.
    ///
    /// # Errors
    ///
    /// A change that would cut flows off (between NAT and others, or of ports), or a VIP that cannot
    /// be.
    pub fn onto(&self, vip: &LbVipAdd) -> Result<LbVipAdd, Problem> {
        self.keeps_flows(vip)?;
        let mut new = LbVipAdd {
            encap: self.encap.or(bare(&vip.encap)),
            service_type: bare(&vip.service_type),
            node_port: bare(&vip.node_port),
            target_port: bare(&vip.target_port),
            new_len: self.new_len.or(bare(&vip.new_len)),
            src_ip_sticky: self.src_ip_sticky.map_or(vip.src_ip_sticky, |sticky| sticky.value),
            scheduler: self.scheduler.or(bare(&vip.scheduler)),
            mss: self.mss.or(bare(&vip.mss)),
            timeouts: self.timeouts.onto(&vip.timeouts),
            name: self.name.clone().or_else(|| bare(&vip.name)),
            ..LbVipAdd::new(self.key)
        };
        let l3dsr = new.encap() == Encap::L3dsr;
        new.dscp = self.dscp.or(bare(&vip.dscp).filter(|_| l3dsr));
        match check_vip(&new).into_iter().next() {
            Some(problem) => Err(self.at_own_word(problem)),
            None => Ok(new),
        }
    }

    /// Whether `old` can become `new` by an update, so that its flows stay.
    pub fn leads_from(old: &LbVipAdd, new: &LbVipAdd) -> bool {
        let all = LbVipUpdate {
            encap: Some(new.encap().into()),
            service_type: Some(new.service_type().into()),
            node_port: new.node_port().map(Into::into),
            target_port: new.target_port,
            ..LbVipUpdate::new(old.key)
        };
        let same_target = old.target() == new.target() || !(old.translates() | new.translates());
        old.key == new.key && same_target && all.keeps_flows(old).is_ok()
    }

    fn keeps_flows(&self, vip: &LbVipAdd) -> Result<(), Problem> {
        let key = vip.key;
        let refuse = |span: Span, reason: String| {
            Err(Problem::new(span, reason)
                .with_hint(format!("for a new start: lb vip {key} del, and add it again")))
        };
        if let Some(encap) = self.encap
            && encap.is_nat() != vip.encap().is_nat()
        {
            let old = vip.encap();
            let reason = format!(
                "encap {old} cannot become {encap}: the replies of its flows go another way"
            );
            return refuse(encap.span, reason);
        }
        if let Some(service) = self.service_type
            && service.value != vip.service_type()
        {
            let reason = format!("type {} cannot become {service}", vip.service_type());
            return refuse(service.span, format!("{reason}: its flows would lose their entry"));
        }
        if let Some(port) = self.node_port
            && vip.node_port() != Some(port.value)
        {
            let reason = format!("the node port cannot become {port}: its flows would be cut off");
            return refuse(port.span, reason);
        }
        if let Some(ports) = self.target_port {
            let asked = LbVipAdd { target_port: Some(ports), ..vip.clone() };
            if asked.target() != vip.target() && asked.translates() | vip.translates() {
                let reason = "its flows would change their port in mid-connection";
                return refuse(
                    ports.span,
                    format!("the target port cannot become {ports}: {reason}"),
                );
            }
        }
        Ok(())
    }

    /// A problem at a word of the line that made the VIP can only be due to the one word of ours
    /// that a VIP has no span for.
    fn at_own_word(&self, mut problem: Problem) -> Problem {
        if problem.span == Span::default() {
            problem.span = self.src_ip_sticky.map_or(self.key.prefix.span, |sticky| sticky.span);
        }
        problem
    }
}

/// A value of the VIP that is there, whose span is in another text.
fn bare<T: Clone>(value: &Option<Spanned<T>>) -> Option<Spanned<T>> {
    value.as_ref().map(|value| value.value.clone().into())
}
