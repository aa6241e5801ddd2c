//! Applying commands that change the model.

use std::sync::Arc;

use config::{Command, Problem, Spanned};
use dataplane::interface::InterfaceId;

use super::Model;

impl Model {
    /// Applies one command; returns what it prints. On an error the model may be half changed, so
    /// that callers work on a copy and throw it away.
    ///
    /// # Errors
    ///
    /// The word that does not fit the model, why, and what would be right.
    pub fn apply(&mut self, command: &Command) -> Result<String, Problem> {
        match command {
            Command::LbConf(conf) => self.lb_conf(conf),
            Command::LbVipAdd(vip) => return self.lb_vip_add(vip),
            Command::LbVipUpdate(update) => self.lb_vip_update(update),
            Command::LbVipDel(key) => self.lb_vip_del(key),
            Command::LbAs(servers) => return self.lb_as(servers),
            Command::LbFlushVip(key) => return self.lb_flush_vip(key),
            Command::LbFlushAll => {
                self.lb_flush_all();
                Ok(())
            }
            Command::LbNoMatch(command) => self.lb_no_match(command),
            Command::CreateIpipTunnel { source, destination, instance } => {
                return self.create_tunnel(source, destination, instance.as_ref());
            }
            Command::DeleteIpipTunnel { interface } => self.delete_tunnel(interface),
            Command::CreateSubInterface(sub) => return self.create_sub_interface(sub),
            Command::DeleteSubInterface { interface } => self.delete_sub_interface(interface),
            Command::LbSetInterfaceNat { family, interfaces, del } => {
                self.lb_set_interface_nat(*family, interfaces, *del)
            }
            Command::SetInterfaceState { interface, up } => {
                self.interface_mut(interface).map(|interface| interface.up = *up)
            }
            Command::SetInterfaceMtu { interface, mtu } => {
                self.interface_mut(interface).map(|interface| interface.mtu = mtu.value)
            }
            Command::SetInterfaceIpAddress { interface, address, del: false } => {
                self.add_address(interface, address)
            }
            Command::SetInterfaceIpAddress { interface, address, del: true } => {
                self.remove_address(interface, address)
            }
            Command::IpRoute { prefix, via, interface, del: false } => {
                self.add_route(prefix, via.as_ref(), interface.as_ref())
            }
            Command::IpRoute { prefix, via, interface, del: true } => {
                self.remove_route(prefix, via.as_ref(), interface.as_ref())
            }
            Command::SetIpNeighbor { interface, address, mac, is_static, del } => self
                .set_neighbor(
                    interface,
                    address,
                    mac.filter(|_| !del).map(|m| m.value),
                    *is_static,
                ),
            // Everything else changes nothing here.
            _ => Ok(()),
        }
        .map(|()| String::new())
    }

    /// The interface that `name` names.
    pub(crate) fn interface_id(&self, name: &Spanned<String>) -> Result<InterfaceId, Problem> {
        match self.interfaces.named(name) {
            Some(interface) => Ok(interface.id),
            None => {
                let names: Vec<_> = self.interfaces.iter().map(|i| &*i.name).collect();
                Err(Problem::new(name.span, format!("there is no interface {}", name.value))
                    .with_hint(format!("interfaces: {}", names.join(", "))))
            }
        }
    }

    /// The interface that `name` names, writable.
    pub(super) fn interface_mut(
        &mut self,
        name: &Spanned<String>,
    ) -> Result<&mut super::InterfaceModel, Problem> {
        let id = self.interface_id(name)?;
        // It was found a line above.
        Arc::make_mut(&mut self.interfaces)
            .get_mut(id)
            .ok_or_else(|| Problem::new(name.span, "it has gone"))
    }
}
