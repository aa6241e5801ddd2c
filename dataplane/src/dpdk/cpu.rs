//! The CPU features this build needs.
//!
//! They are read with `cpuid`, not with `is_x86_feature_detected!`: that macro answers at compile
//! time for every feature the compiler was told to use, so here it would always say yes.

use std::arch::x86_64::{__cpuid, __cpuid_count, __get_cpuid_max, _xgetbv};

/// What `cpuid` and the operating system say, as far as x86-64-v3 and AES are concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// `cpuid` leaf 1, ECX.
    pub leaf1_ecx: u32,
    /// `cpuid` leaf 7 subleaf 0, EBX.
    pub leaf7_ebx: u32,
    /// `cpuid` leaf 8000_0001h, ECX.
    pub extended_ecx: u32,
    /// The operating system saves AVX registers (XCR0 bits 1 and 2).
    pub os_saves_avx: bool,
}

/// Tells whether a feature is there.
type Test = fn(&Features) -> bool;

/// Where a required feature is found: Intel SDM volume 2A, CPUID.
const REQUIRED: [(&str, Test); 10] = [
    ("avx2", |f| f.os_saves_avx && f.leaf7_ebx & 1 << 5 != 0),
    ("bmi1", |f| f.leaf7_ebx & 1 << 3 != 0),
    ("bmi2", |f| f.leaf7_ebx & 1 << 8 != 0),
    ("fma", |f| f.os_saves_avx && f.leaf1_ecx & 1 << 12 != 0),
    ("f16c", |f| f.os_saves_avx && f.leaf1_ecx & 1 << 29 != 0),
    ("movbe", |f| f.leaf1_ecx & 1 << 22 != 0),
    ("lzcnt", |f| f.extended_ecx & 1 << 5 != 0),
    ("popcnt", |f| f.leaf1_ecx & 1 << 23 != 0),
    ("sse4.2", |f| f.leaf1_ecx & 1 << 20 != 0),
    ("aes", |f| f.leaf1_ecx & 1 << 25 != 0),
];

/// `cpuid` leaf 1, ECX: `xgetbv` may be used.
const OSXSAVE: u32 = 1 << 27;

/// Reads this CPU.
pub fn detect() -> Features {
    let leaf1_ecx = __cpuid(1).ecx;
    let leaf7_ebx = if __get_cpuid_max(0).0 >= 7 { __cpuid_count(7, 0).ebx } else { 0 };
    let extended = __get_cpuid_max(0x8000_0000).0 >= 0x8000_0001;
    let extended_ecx = if extended { __cpuid(0x8000_0001).ecx } else { 0 };
    let os_saves_avx = leaf1_ecx & OSXSAVE != 0 && {
        // SAFETY: OSXSAVE says that the instruction is enabled; register 0 always exists.
        let enabled = unsafe { _xgetbv(0) };
        enabled & 0b110 == 0b110
    };
    Features { leaf1_ecx, leaf7_ebx, extended_ecx, os_saves_avx }
}

/// Names of the required features that `features` lacks.
pub fn missing(features: &Features) -> Vec<&'static str> {
    REQUIRED.iter().filter(|(_, has)| !has(features)).map(|(name, _)| *name).collect()
}

/// Says which required features this CPU lacks, if any. To be called first of all: other code may
/// already use them.
pub fn check() -> Result<(), String> {
    refuse(&missing(&detect()))
}

fn refuse(missing: &[&str]) -> Result<(), String> {
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "this CPU lacks {}: this build needs x86-64-v3 with AES (Haswell or newer); \
         in a virtual machine, pass the host's CPU model through",
        missing.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Features = Features {
        leaf1_ecx: u32::MAX,
        leaf7_ebx: u32::MAX,
        extended_ecx: u32::MAX,
        os_saves_avx: true,
    };

    #[test]
    fn names_what_is_missing() {
        assert_eq!(missing(&ALL), [""; 0]);
        let without_aes = Features { leaf1_ecx: !(1 << 25), ..ALL };
        assert_eq!(missing(&without_aes), ["aes"]);
        let without_bmi2 = Features { leaf7_ebx: !(1 << 8), ..ALL };
        let message = refuse(&missing(&without_bmi2)).unwrap_err();
        assert!(message.starts_with("this CPU lacks bmi2: "), "{message}");
    }

    #[test]
    fn avx_needs_the_operating_system_too() {
        let features = Features { os_saves_avx: false, ..ALL };
        assert_eq!(missing(&features), ["avx2", "fma", "f16c"]);
    }

    #[test]
    fn agrees_with_the_kernel() {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap();
        // /proc/cpuinfo spells two of them differently.
        let kernel_name = |name: &str| match name {
            "lzcnt" => "abm".to_owned(),
            other => other.replace('.', "_"),
        };
        let missing = missing(&detect());
        for (name, _) in REQUIRED {
            let kernel_has = flags.split_whitespace().any(|flag| flag == kernel_name(name));
            assert_eq!(!missing.contains(&name), kernel_has, "{name}");
        }
    }
}
