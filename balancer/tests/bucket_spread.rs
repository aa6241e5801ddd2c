//! Buckets of the sticky table cannot be aimed at: 2^20 flows that somebody chose, who knows how the
//! box works and the public key of the flow hash, fill them as chance would, under whatever key an
//! instance drew.
//!
//! Chance is judged by χ² over 4096 cells: for their first buckets, their second ones, and both
//! together, as an attacker wants flows that share both.

use std::net::{Ipv4Addr, Ipv6Addr};

use balancer::{
    FlowHasher, FlowKey, FlowTuple, HashKey, InstanceKey, StickyOwner, StickyTable, VipId,
};

const FLOWS: u32 = 1 << 20;
const CELLS: usize = 4096;

/// Keys as an instance could draw them, and such as chance does not make.
const KEYS: [[u8; 32]; 3] = [[0; 32], [0xa5; 32], *b"an instance draws 32 random bits"];

fn vip() -> VipId {
    VipId::new(1).unwrap()
}

fn tuple(client: u32, port: u16) -> FlowTuple<Ipv4Addr> {
    FlowTuple {
        src: Ipv4Addr::from_bits(client),
        dst: Ipv4Addr::new(20, 20, 20, 1),
        src_port: port,
        dst_port: 443,
        protocol: 6,
    }
}

/// χ² of what 2^20 flows of chance would put into each cell: mean 4095, deviation 90.5.
fn chi_square(counts: &[u32]) -> f64 {
    let expected = f64::from(FLOWS) / counts.len() as f64;
    counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum()
}

/// Demands that the buckets of flows look like chance, under every key: neither crowded nor more
/// even than chance is (chance itself goes further than six deviations once in 10^9).
fn expect_chance(what: &str, keys: impl Fn(&InstanceKey, u32) -> FlowKey) {
    for bytes in KEYS {
        let instance = InstanceKey::from_bytes(bytes);
        let owner = StickyOwner::new(CELLS as u64, instance, 1).unwrap();
        let [first, second, both] = counted(owner.table(), |n| keys(&instance, n));
        let names = ["first buckets", "second buckets", "pairs"];
        for (name, counts) in names.iter().zip([first, second, both]) {
            let deviations = (chi_square(&counts) - 4095.0) / f64::sqrt(2.0 * 4095.0);
            assert!(deviations.abs() < 6.0, "{what}: {name}: {deviations:.1} deviations");
        }
    }
}

/// How many flows have each bucket first, each second, and each of 64 × 64 halves of both.
fn counted(table: &StickyTable, key: impl Fn(u32) -> FlowKey) -> [Vec<u32>; 3] {
    let mut counts = [vec![0; CELLS], vec![0; CELLS], vec![0; CELLS]];
    for n in 0..FLOWS {
        let pair = table.bucket_of(&key(n));
        let (first, second) = (pair.first as usize, pair.second as usize);
        counts[0][first] += 1;
        counts[1][second] += 1;
        counts[2][first % 64 * 64 + second % 64] += 1;
    }
    counts
}

fn exact(tuple: &FlowTuple<Ipv4Addr>) -> FlowKey {
    FlowKey::exact(tuple.src, tuple.src_port, vip())
}

#[test]
fn sequential_addresses_spread() {
    expect_chance("exact", |_, n| exact(&tuple(0x0a00_0000 + n, 1234)));
    expect_chance("tag", |key, n| FlowKey::tag(key, &tuple(0x0a00_0000 + n, 1234), vip()));
}

#[test]
fn sequential_ports_spread() {
    let flow = |n: u32| tuple(0x0a00_0000 + (n >> 16), n as u16);
    expect_chance("exact", |_, n| exact(&flow(n)));
    expect_chance("full", |key, n| FlowKey::full(key, &flow(n), vip()));
}

#[test]
fn equal_low_bits_spread() {
    // Addresses that differ in their upper 20 bits only, and ports in none.
    expect_chance("exact", |_, n| exact(&tuple(n << 12 | 0x345, 0x1000)));
    expect_chance("tag", |key, n| FlowKey::tag(key, &tuple(n << 12 | 0x345, 0x1000), vip()));
}

#[test]
fn addresses_of_one_ipv6_network_spread() {
    let flow = |n: u32| FlowTuple {
        src: Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n)),
        dst: Ipv6Addr::LOCALHOST,
        src_port: 1234,
        dst_port: 443,
        protocol: 17,
    };
    expect_chance("tag", |key, n| FlowKey::tag(key, &flow(n), vip()));
    // And such as differ far from the end.
    let far = |n: u32| FlowTuple {
        src: Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n) << 76),
        ..flow(0)
    };
    expect_chance("full", |key, n| FlowKey::full(key, &far(n), vip()));
    expect_chance("end", |key, n| FlowKey::end(key, &far(n), vip()));
}

/// Flows that all start in the same eighth of a new-flow table under the public key.
#[test]
fn flows_that_collide_in_the_public_flow_hash_spread() {
    let hasher = FlowHasher::new(&HashKey::default());
    let candidates = (0..).map(|n: u32| tuple(0x0b00_0000 + (n >> 12), (n << 4) as u16));
    let colliding = candidates.filter(|tuple| hasher.hash(tuple, false) >> 61 == 5);
    let flows: Vec<_> = colliding.take(FLOWS as usize).collect();
    expect_chance("exact", |_, n| exact(&flows[n as usize]));
    expect_chance("tag", |key, n| FlowKey::tag(key, &flows[n as usize], vip()));
}

/// CRC-32C of an address and port, bit by bit.
fn crc(client: u32, port: u16) -> u32 {
    let bytes = [&client.to_be_bytes()[..], &port.to_be_bytes()].concat();
    bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    })
}

/// Differences of an address and port that leave the low ten bits of a CRC as they are: a CRC is
/// linear, so any combination of them does.
fn blind_spots_of_crc() -> Vec<u64> {
    let low = |bits: u64| {
        let change = crc((bits >> 16) as u32, bits as u16) ^ crc(0, 0);
        change & 0x3ff
    };
    let (mut basis, mut blind) = (Vec::<(u64, u32)>::new(), Vec::new());
    for bit in 0..48 {
        let (mut bits, mut value) = (1_u64 << bit, low(1 << bit));
        for &(other, pivot) in &basis {
            if value ^ pivot < value {
                (bits, value) = (bits ^ other, value ^ pivot);
            }
        }
        match value {
            0 => blind.push(bits),
            value => {
                basis.push((bits, value));
                basis.sort_by_key(|(_, value)| std::cmp::Reverse(*value));
            }
        }
    }
    blind
}

/// What falls into one and the same bucket of 1024 where buckets are chosen by a CRC, as in VPP.
#[test]
fn flows_of_one_bucket_of_a_crc_spread() {
    let blind = blind_spots_of_crc();
    assert!(blind.len() >= 38);
    let flow = |n: u32| {
        let chosen = (0..20).filter(|bit| n >> bit & 1 == 1);
        let bits = chosen.fold(0x0a00_0001_1000, |bits, bit| bits ^ blind[bit]);
        tuple((bits >> 16) as u32, bits as u16)
    };
    let of = |n| crc(flow(n).src.to_bits(), flow(n).src_port) & 0x3ff;
    assert!((0..FLOWS).step_by(1013).all(|n| of(n) == of(0)));
    expect_chance("exact", |_, n| exact(&flow(n)));
}

/// The measure itself: a CRC's buckets fail it.
#[test]
fn buckets_of_a_crc_are_no_chance() {
    let mut counts = vec![0; CELLS];
    (0..FLOWS).for_each(|n| counts[crc(0x0a00_0000 + n, 1234) as usize % CELLS] += 1);
    let deviations = (chi_square(&counts) - 4095.0) / f64::sqrt(2.0 * 4095.0);
    assert!(deviations < -6.0, "{deviations:.1}");
}
