//! Keyed hashes of addresses and tuples by AES rounds.
//!
//! Every block of input goes through four rounds: two with keys of its own, and two together with
//! the others. After two, one changed byte has changed all sixteen, through five S-boxes whose
//! inputs nobody knows without the key: so parts of a flow can hardly be chosen to cancel out
//! (2^-30). After two rounds only, regular input still fills buckets too regularly; after four it
//! cannot be told from chance, which the tests of the hashes look at.
//!
//! Of 256 tuples in a row each takes 1.1 ns, an IPv6 one 2.2 ns (`cargo bench -p benches --bench
//! balancer -- 5-tuple`; AMD EPYC at 3.7 GHz): 4 and 8 core cycles.

use core::arch::x86_64::{
    __m128i, _mm_aesenc_si128, _mm_cvtsi128_si64, _mm_insert_epi32, _mm_loadu_si128,
    _mm_set_epi64x, _mm_setzero_si128, _mm_xor_si128,
};

use crate::address::Address;
use crate::flow_tuple::FlowTuple;

// Nobody can build this for a CPU that may lack the instruction, and `sluiced` refuses to start on
// one that does.
const _: () = assert!(cfg!(target_feature = "aes"), "build with -Ctarget-feature=+aes");

/// Keys of a block: one is added before the first round.
const ABSORBING: usize = 3;

/// The most blocks that are hashed at once: two addresses, ports and protocol.
const BLOCKS: usize = 3;

/// Keys of the rounds after the blocks were put together.
const FINISHING: usize = 2;

/// Round keys; equal ones hash alike, on every machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct AesHash {
    absorbing: [[u128; ABSORBING]; BLOCKS],
    finishing: [u128; FINISHING],
}

impl AesHash {
    /// The hash with round keys of these words, which are asked for by their number.
    pub(crate) fn new(word: impl Fn(u64) -> u64) -> Self {
        let key = |number: usize| {
            let number = 2 * number as u64;
            u128::from(word(number + 1)) << 64 | u128::from(word(number))
        };
        let block = |block| std::array::from_fn(|round| key(block * ABSORBING + round));
        Self {
            absorbing: std::array::from_fn(block),
            finishing: std::array::from_fn(|round| key(BLOCKS * ABSORBING + round)),
        }
    }

    /// The hash of a 5-tuple: one block for IPv4, three for IPv6.
    #[inline]
    pub(crate) fn tuple<A: Address>(&self, tuple: &FlowTuple<A>) -> u64 {
        let FlowTuple { src, dst, src_port, dst_port, protocol } = *tuple;
        let rest = u128::from(src_port) << 24 | u128::from(dst_port) << 8 | u128::from(protocol);
        if A::IS_V6 {
            self.blocks(&[src.bits(), dst.bits(), rest])
        } else {
            self.blocks(&[rest << 64 | src.bits() << 32 | dst.bits()])
        }
    }

    /// The hash of an address and a port.
    #[inline]
    pub(crate) fn end<A: Address>(&self, address: A, port: u16) -> u64 {
        let port = u128::from(port);
        if A::IS_V6 {
            self.blocks(&[address.bits(), port])
        } else {
            self.blocks(&[port << 64 | address.bits()])
        }
    }

    /// Another hash of a 5-tuple, which takes addresses and ports as packets have them: nobody need turn
    /// them round first.
    #[inline]
    pub(crate) fn wire_tuple<A: Address>(&self, tuple: &FlowTuple<A>) -> u64 {
        let [src, dst] = [tuple.src, tuple.dst].map(Address::wire_bits);
        let ports = [tuple.src_port, tuple.dst_port].map(|port| u128::from(port.swap_bytes()));
        let rest = ports[0] | ports[1] << 16 | u128::from(tuple.protocol) << 32;
        if A::IS_V6 {
            self.blocks(&[src, dst, rest])
        } else {
            self.blocks(&[src | dst << 32 | rest << 64])
        }
    }

    /// The same for the bytes of an IPv4 packet from the source address on: addresses, ports, and four
    /// more that do not count. By one load: from a tuple the block takes 6 of some 280 instructions of a
    /// packet more.
    #[inline]
    pub(crate) fn wire_ends(&self, ends: &[u8; 16], protocol: u8) -> u64 {
        // SAFETY: the CPU has AES, and so SSE4.1, see the assertion above; as many bytes are read as there
        // are.
        #[allow(unsafe_code)]
        unsafe {
            let block = _mm_loadu_si128(ends.as_ptr().cast());
            let block = _mm_insert_epi32::<3>(block, i32::from(protocol));
            self.finished(absorbed(block, &self.absorbing[0]))
        }
    }

    /// The same of an address and a port.
    #[inline]
    pub(crate) fn wire_end<A: Address>(&self, address: A, port: u16) -> u64 {
        let (address, port) = (address.wire_bits(), u128::from(port.swap_bytes()));
        if A::IS_V6 { self.blocks(&[address, port]) } else { self.blocks(&[address | port << 64]) }
    }

    /// The hash of one word.
    #[inline]
    pub(crate) fn word(&self, word: u64) -> u64 {
        self.blocks(&[u128::from(word)])
    }

    #[inline]
    fn blocks<const N: usize>(&self, blocks: &[u128; N]) -> u64 {
        // SAFETY: the CPU has AES, see the assertion above.
        #[allow(unsafe_code)]
        unsafe {
            self.rounds(blocks)
        }
    }

    #[inline]
    #[target_feature(enable = "aes")]
    fn rounds<const N: usize>(&self, blocks: &[u128; N]) -> u64 {
        let mut state = _mm_setzero_si128();
        for (block, keys) in blocks.iter().zip(&self.absorbing) {
            state = _mm_xor_si128(state, absorbed(vector(*block), keys));
        }
        self.finished(state)
    }

    #[inline]
    #[target_feature(enable = "aes")]
    fn finished(&self, mut state: __m128i) -> u64 {
        for key in &self.finishing {
            state = _mm_aesenc_si128(state, vector(*key));
        }
        _mm_cvtsi128_si64(state) as u64
    }
}

/// A block after its own rounds.
#[inline]
#[target_feature(enable = "aes")]
fn absorbed(block: __m128i, [first, others @ ..]: &[u128; ABSORBING]) -> __m128i {
    let mut part = _mm_xor_si128(block, vector(*first));
    for key in others {
        part = _mm_aesenc_si128(part, vector(*key));
    }
    part
}

#[inline]
#[target_feature(enable = "aes")]
fn vector(bits: u128) -> __m128i {
    _mm_set_epi64x((bits >> 64) as i64, bits as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maglev;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use xxhash_rust::xxh3::xxh3_64_with_seed;

    fn hash() -> AesHash {
        AesHash::new(|word| xxh3_64_with_seed(b"test", word))
    }

    fn words(seed: u64) -> [u128; BLOCKS] {
        std::array::from_fn(|word| {
            let half = |half| xxh3_64_with_seed(&seed.to_le_bytes(), 2 * word as u64 + half);
            u128::from(half(0)) << 64 | u128::from(half(1))
        })
    }

    /// The first 104 or 296 bits are a tuple's.
    fn v4(bits: [u128; BLOCKS]) -> FlowTuple<Ipv4Addr> {
        let [a, ..] = bits;
        FlowTuple {
            src: Ipv4Addr::from(a as u32),
            dst: Ipv4Addr::from((a >> 32) as u32),
            src_port: (a >> 64) as u16,
            dst_port: (a >> 80) as u16,
            protocol: (a >> 96) as u8,
        }
    }

    fn v6([src, dst, rest]: [u128; BLOCKS]) -> FlowTuple<Ipv6Addr> {
        FlowTuple {
            src: src.into(),
            dst: dst.into(),
            src_port: rest as u16,
            dst_port: (rest >> 16) as u16,
            protocol: (rest >> 32) as u8,
        }
    }

    /// The example of Intel's paper on the AES instructions: one round by FIPS 197.
    #[test]
    fn a_round_is_one_of_aes() {
        #[target_feature(enable = "aes")]
        fn round(state: u128, key: u128) -> [u64; 2] {
            let state = _mm_aesenc_si128(vector(state), vector(key));
            let high = core::arch::x86_64::_mm_unpackhi_epi64(state, state);
            [high, state].map(|half| _mm_cvtsi128_si64(half) as u64)
        }
        let state = 0x7b5b_5465_7374_5665_6374_6f72_5d53_475d;
        let key = 0x4869_2853_6861_7929_5b47_7565_726f_6e5d;
        // SAFETY: the CPU has AES, or this would not have compiled.
        #[allow(unsafe_code)]
        let round = unsafe { round(state, key) };
        assert_eq!(round, [0xa831_1c2f_9fdb_a3c5, 0x8b10_4b58_ded7_e595]);
    }

    #[test]
    fn each_bit_of_a_tuple_flips_every_bit_of_the_hash_half_of_the_time() {
        let hash = hash();
        flips_half(104, |bits| hash.tuple(&v4(bits)));
        flips_half(296, |bits| hash.tuple(&v6(bits)));
        flips_half(64, |[word, ..]| hash.word(word as u64));
        flips_half(144, |[address, port, _]| hash.end(Ipv6Addr::from(address), port as u16));
        flips_half(104, |bits| hash.wire_tuple(&v4(bits)));
        flips_half(296, |bits| hash.wire_tuple(&v6(bits)));
        flips_half(144, |[address, port, _]| hash.wire_end(Ipv6Addr::from(address), port as u16));
    }

    fn flips_half(bits: usize, hash: impl Fn([u128; BLOCKS]) -> u64) {
        const SAMPLES: u64 = 1024;
        for bit in 0..bits {
            let mut flips = [0u32; 64];
            for seed in 0..SAMPLES {
                let words = words(seed);
                let mut other = words;
                other[bit / 128] ^= 1 << (bit % 128);
                let changed = hash(words) ^ hash(other);
                for (at, flips) in flips.iter_mut().enumerate() {
                    *flips += (changed >> at) as u32 & 1;
                }
            }
            // Six standard deviations, which are 16.
            assert!(flips.iter().all(|n| (416..=608).contains(n)), "bit {bit}: {flips:?}");
        }
    }

    /// Of what packets have behind their ports, and of which protocol they are.
    #[test]
    fn the_bytes_of_a_packet_are_hashed_like_its_tuple() {
        let hash = hash();
        for words in (0..1000).map(words) {
            let tuple = v4(words);
            let ports = [tuple.src_port, tuple.dst_port].map(u16::to_be_bytes).concat();
            let behind = (words[1] as u32).to_le_bytes();
            let bytes = [&tuple.src.octets()[..], &tuple.dst.octets(), &ports, &behind].concat();
            let ends = bytes.first_chunk().unwrap();
            assert_eq!(hash.wire_ends(ends, tuple.protocol), hash.wire_tuple(&tuple));
        }
    }

    #[test]
    fn parts_do_not_cancel_out() {
        let hash = hash();
        let mut seen = std::collections::HashSet::new();
        for n in 0..1u32 << 12 {
            let address = u128::from(n) << 64 | 0x2001_0db8 << 96;
            for parts in [[address, address, 0], [address, 0, 0], [0, address, 0]] {
                assert!(seen.insert(hash.tuple(&v6(parts))) || n == 0);
            }
            let [src, dst] = [n, n + 1].map(|n| Ipv4Addr::from(0x0a00_0000 | n));
            let tuple = FlowTuple { src, dst, src_port: n as u16, dst_port: n as u16, protocol: 6 };
            assert!(seen.insert(hash.tuple(&tuple)));
        }
    }

    /// χ² of 65 536 hashes in 4096 buckets, by bits from both ends and by a new-flow table's slots.
    /// Its mean is 4095 and its standard deviation 90.5 for random ones; too little is as bad as too
    /// much.
    fn looks_random(name: &str, hashes: impl Fn(u32) -> u64) {
        let places: [fn(u64) -> u64; 4] = [
            |hash| hash & 4095,
            |hash| hash >> 32 & 4095,
            |hash| hash >> 16 & 4095,
            |hash| maglev::scale(hash, 4096).into(),
        ];
        for (index, place) in places.into_iter().enumerate() {
            let mut counts = vec![0u32; 4096];
            for n in 0..65_536 {
                counts[place(hashes(n)) as usize] += 1;
            }
            let square = |&n: &u32| (f64::from(n) - 16.0).powi(2) / 16.0;
            let chi: f64 = counts.iter().map(square).sum();
            assert!((3600.0..4600.0).contains(&chi), "{name}, place {index}: {chi}");
        }
    }

    #[test]
    fn regular_traffic_spreads_like_random_traffic() {
        let hash = hash();
        let client = |client: u32, port: u16| FlowTuple {
            src: Ipv4Addr::from(0x0a00_0000 | client),
            dst: Ipv4Addr::new(10, 10, 2, 2),
            src_port: port,
            dst_port: 80,
            protocol: 6,
        };
        let wide = |net: u32, client: u32, port: u16| FlowTuple {
            src: Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(net) << 64 | u128::from(client)),
            dst: "2001:db8:b::2".parse().unwrap(),
            src_port: port,
            dst_port: 80,
            protocol: 6,
        };
        looks_random("v4 ports", |n| hash.tuple(&client(1, n as u16)));
        looks_random("v4 clients", |n| hash.tuple(&client(n, 7)));
        looks_random("v4 /24s", |n| hash.tuple(&client(n << 8, 7)));
        looks_random("v4 clients and ports", |n| hash.tuple(&client(n >> 8, n as u16 & 255)));
        looks_random("v6 ports", |n| hash.tuple(&wide(1, 1, n as u16)));
        looks_random("v6 clients", |n| hash.tuple(&wide(1, n, 7)));
        looks_random("v6 /64s", |n| hash.tuple(&wide(n, 1, 7)));
        looks_random("v4 addresses alone", |n| hash.end(client(n, 0).src, 0));
        looks_random("v6 addresses alone", |n| hash.end(wide(n, 1, 0).src, 0));
        looks_random("v4 ports as sent", |n| hash.wire_tuple(&client(1, n as u16)));
        looks_random("v4 clients as sent", |n| hash.wire_tuple(&client(n, 7)));
        looks_random("v6 ports as sent", |n| hash.wire_tuple(&wide(1, 1, n as u16)));
        looks_random("v6 clients as sent", |n| hash.wire_tuple(&wide(1, n, 7)));
        looks_random("v6 ends as sent", |n| hash.wire_end(wide(n, 1, 0).src, n as u16));
        looks_random("words", |n| hash.word(u64::from(n)));
        looks_random("words as sent", |n| hash.word(u64::from(n.swap_bytes())));
        looks_random("stepping words", |n| hash.word(u64::from(n) << 16));
    }
}
