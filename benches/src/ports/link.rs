//! [`Link`]: what connects the two processes of a pair: made for it, and gone with it.

use std::path::PathBuf;
use std::process::Command;

use crate::ports::device::Device;

/// Kinds of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LinkKind {
    /// Shared memory between two processes
    Memif,
    /// vhost-user and virtio-user
    Vhost,
    /// A pair of veths, each with a packet socket; needs root
    #[value(name = "af_packet", alias = "af-packet")]
    AfPacket,
    /// A pair of veths, each with an XDP socket; needs root
    #[value(name = "af_xdp", alias = "af-xdp")]
    AfXdp,
}

impl LinkKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memif => "memif",
            Self::Vhost => "vhost",
            Self::AfPacket => "af_packet",
            Self::AfXdp => "af_xdp",
        }
    }
}

/// A link of two devices, with names that only this process has.
#[derive(Debug)]
pub struct Link {
    /// Of the device under test, which is opened first.
    pub device: Device,
    /// Of the generator.
    pub generator: Device,
    /// The network namespace of both.
    pub namespace: Option<String>,
    folder: Option<PathBuf>,
}

impl Link {
    /// Makes one. What is made before a failure is taken away again.
    ///
    /// # Errors
    ///
    /// What could not be made.
    pub fn make(kind: LinkKind) -> Result<Self, String> {
        let unmade = || Device::Virtual(String::new());
        let (device, generator) = (unmade(), unmade());
        let mut link = Self { device, generator, namespace: None, folder: None };
        match kind {
            LinkKind::Memif => link.make_memif()?,
            LinkKind::Vhost => link.make_vhost()?,
            LinkKind::AfPacket => {
                link.make_veths(|number, name| format!("net_af_packet{number},iface={name}"))?
            }
            LinkKind::AfXdp => link.make_veths(|number, name| {
                // Without a budget the kernel does the work in its own time: faster on veths.
                format!("net_af_xdp{number},iface={name},start_queue=0,queue_count=1,busy_budget=0")
            })?,
        }
        Ok(link)
    }

    fn make_memif(&mut self) -> Result<(), String> {
        let socket = self.make_folder()?.join("memif.sock");
        let socket = format!("socket={},socket-abstract=no", socket.display());
        self.device = format!("net_memif0,role=server,{socket}").parse()?;
        self.generator = format!("net_memif0,role=client,{socket}").parse()?;
        Ok(())
    }

    fn make_vhost(&mut self) -> Result<(), String> {
        let socket = self.make_folder()?.join("vhost.sock");
        let socket = socket.display();
        self.device = format!("net_vhost0,iface={socket},queues=1").parse()?;
        let ring = "queues=1,queue_size=1024,in_order=1,mrg_rxbuf=0";
        self.generator = format!("net_virtio_user0,path={socket},{ring}").parse()?;
        Ok(())
    }

    fn make_folder(&mut self) -> Result<PathBuf, String> {
        let folder = std::env::temp_dir().join(format!("sluice-{}-pair", std::process::id()));
        std::fs::create_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        self.folder = Some(folder.clone());
        Ok(folder)
    }

    /// Two veths in a namespace of their own, so that nobody else's packets get in, and ours nowhere.
    fn make_veths(&mut self, vdev: impl Fn(u8, &str) -> String) -> Result<(), String> {
        let id = std::process::id();
        let namespace = format!("sluice-{id}-pair");
        ip(&["netns", "add", &namespace])?;
        self.namespace = Some(namespace.clone());
        let names = ["d", "g"].map(|end| format!("sluice{id}{end}"));
        let [device, generator] = &names;
        let within = ["-n", &namespace];
        ip(&[&within[..], &["link", "add", device, "type", "veth", "peer", "name", generator]]
            .concat())?;
        for name in &names {
            // Neither router solicitations nor neighbour discovery from the kernel.
            let setting = format!("net.ipv6.conf.{name}.disable_ipv6=1");
            run("ip", &["netns", "exec", &namespace, "sysctl", "-qw", &setting])?;
            let off = ["tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off"];
            let ethtool = ["netns", "exec", &namespace, "ethtool", "-K", name];
            run("ip", &[&ethtool[..], &off].concat())?;
            // Room for the outer headers of frames of 1518 bytes.
            ip(&[&within[..], &["link", "set", name, "mtu", "1600", "up"]].concat())?;
        }
        self.device = vdev(0, device).parse()?;
        self.generator = vdev(0, generator).parse()?;
        Ok(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(namespace) = &self.namespace
            && let Err(reason) = ip(&["netns", "del", namespace])
        {
            eprintln!("sluice-bench: {reason}");
        }
        if let Some(folder) = &self.folder
            && let Err(error) = std::fs::remove_dir_all(folder)
        {
            eprintln!("sluice-bench: {}: {error}", folder.display());
        }
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    run("ip", arguments)
}

/// Runs a command that changes the network.
fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let line = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{}: {error}", line()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let hint = match is_root() {
        true => "",
        false => "; a link of veths needs root: say --link memif or --link vhost, or use sudo",
    };
    Err(format!("{}: {}{hint}", line(), said.trim()))
}

/// May this process make namespaces?
pub fn is_root() -> bool {
    // SAFETY: always succeeds.
    unsafe { libc::geteuid() == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_in_a_folder_that_goes_with_the_link() {
        let link = Link::make(LinkKind::Memif).unwrap();
        let folder = link.folder.clone().unwrap();
        assert!(folder.is_dir());
        assert!(link.device.to_string().contains("role=server"));
        assert!(link.generator.to_string().contains("role=client"));
        // The name is this process's: a second link would take it.
        assert!(Link::make(LinkKind::Vhost).is_err());
        drop(link);
        assert!(!folder.exists());
        let link = Link::make(LinkKind::Vhost).unwrap();
        assert!(link.generator.shares_memory() && !link.device.shares_memory());
    }

    #[test]
    fn what_a_command_says_is_passed_on() {
        let error = run("ip", &["nonsense"]).unwrap_err();
        assert!(error.contains("ip nonsense: "), "{error}");
        assert!(run("/nonexistent/ip", &[]).unwrap_err().contains("No such file"));
    }
}
