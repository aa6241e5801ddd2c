//! What the files of kept state look like, word by word, as committed in `layout.txt`: nobody changes
//! that by accident, and whoever does on purpose raises [`LAYOUT`].

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use balancer::{
    AsId, FlowKey, FlowState, FlowTuple, MAX_SERVERS, NewEntry, StickyOwner, TableFiles, VipId,
};

use super::directory::Directory;
use super::folder::{Folder, TableName};
use super::header::Header;
use super::{DIRECTORY, LAYOUT, instance_key};
use crate::model::Model;

/// "layout", its number, and then for each file its length in bytes and the words that are not 0: name,
/// place and value.
const COMMITTED: &str = include_str!("layout.txt");

const HEADER: Header = Header {
    layout: LAYOUT,
    boot_id: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
    tsc_hz: 1_000,
    tsc_start: 5_000,
    key: [1, 2, 3, 4],
    fingerprint: 9,
    workers: 1,
    buckets: 8,
};
const TABLE: TableName = TableName { worker: 0, generation: 0, buckets: 8 };

/// VIPs and ASs of every kind of record.
const COMMANDS: [&str; 9] = [
    "lb vip 10.1.0.1/32 protocol tcp port 80 encap nat4 target_port 8080",
    "lb as 10.1.0.1/32 protocol tcp port 80 10.2.0.1 10.2.0.2",
    "lb as 10.1.0.1/32 protocol tcp port 80 10.2.0.2 del flush",
    "lb vip 2001:db8::/64 encap gre4",
    "lb as 2001:db8::/64 10.2.0.3",
    "lb vip 10.1.1.0/24 protocol udp port 1000-2000 encap l3dsr dscp 7",
    "lb as 10.1.1.0/24 protocol udp port 1000-2000 10.2.0.4",
    "lb vip 10.1.2.1/32 encap gre6",
    "lb as 10.1.2.1/32 2001:db8:2::1",
];

fn write_directory(folder: &Folder) {
    let mut model = Model::default();
    for line in COMMANDS {
        model
            .apply(&config::parse(line).unwrap())
            .unwrap_or_else(|e| panic!("{line}: {}", e.reason));
    }
    let mut directory = Directory::open(folder.locked(DIRECTORY).unwrap()).unwrap();
    HEADER.write(directory.page());
    Header::set_last_tick(directory.page(), 60);
    directory.note(&model.lb).unwrap();
}

/// A flow with each kind of key.
fn write_table(folder: &Folder) {
    let [buckets, cells] = folder.table(TABLE).unwrap();
    let files = TableFiles { buckets: &buckets, cells: &cells };
    let instance = instance_key(HEADER.key);
    let mut owner =
        StickyOwner::in_files(u64::from(TABLE.buckets), &files, instance, MAX_SERVERS).unwrap();
    let client = Ipv4Addr::new(192, 0, 2, 1);
    let (vip, dst): (_, Ipv4Addr) = (|index| VipId::new(index).unwrap(), [10, 1, 0, 1].into());
    let tuple = FlowTuple { src: client, dst, src_port: 4000, dst_port: 80, protocol: 6 };
    let [src, dst] = ["2001:db8:1::1", "2001:db8::5"].map(|text| text.parse::<IpAddr>().unwrap());
    let (IpAddr::V6(src), IpAddr::V6(dst)) = (src, dst) else { panic!("IPv6") };
    let tuple6 = FlowTuple { src, dst, src_port: 5000, dst_port: 80, protocol: 17 };
    let flows = [
        (FlowKey::exact(client, 4000, vip(1)), 1, FlowState::Established),
        (FlowKey::tag(&instance, &tuple6, vip(2)), 3, FlowState::SynReceived),
        (FlowKey::end(&instance, &tuple6, vip(2)), 4, FlowState::FinWait),
        (FlowKey::full(&instance, &tuple, vip(3)), 5, FlowState::TimeWait),
        (FlowKey::direct(&instance, &tuple), 0, FlowState::Close),
    ];
    for (number, (key, server, state)) in (0..).zip(flows) {
        let as_id = AsId::new(server).unwrap_or_else(|| AsId::new(1).unwrap());
        let entry = NewEntry { as_id, epoch: number, state, expiry_tick: 100 + u16::from(number) };
        owner.insert(&key, entry, 60, |_| Some(0)).unwrap();
    }
}

/// The words of a file that are not 0.
fn dump(folder: &Path, name: &str, text: &mut String) {
    let bytes = std::fs::read(folder.join(name)).unwrap();
    writeln!(text, "{name} {}", bytes.len()).unwrap();
    let (words, _) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().map(|word| u64::from_le_bytes(*word)).enumerate() {
        if word != 0 {
            writeln!(text, "{name} {place} {word:016x}").unwrap();
        }
    }
}

#[test]
fn the_bytes_are_those_of_this_layout() {
    let path = format!("/dev/shm/sluice-layout-{}", std::process::id());
    let _ = std::fs::remove_dir_all(&path);
    let folder = Folder::open(path.as_ref()).unwrap();
    write_directory(&folder);
    write_table(&folder);
    let mut text = format!("layout {LAYOUT}\n");
    for name in [DIRECTORY, "buckets-0-0-8", "cells-0-0-8"] {
        dump(folder.path(), name, &mut text);
    }
    std::fs::remove_dir_all(&path).unwrap();
    if text == COMMITTED {
        return;
    }
    let same_number = COMMITTED.lines().next() == text.lines().next();
    let advice = match same_number {
        true => "raise LAYOUT, as files of before would be misread; then",
        false => "the new LAYOUT is noted:",
    };
    panic!("the files of kept state have changed: {advice} layout.txt has to be this:\n{text}");
}
