//! The CPU features this build needs.

/// Features the release is compiled for, beyond plain x86-64 (see `.cargo/config.toml`).
pub const REQUIRED: [&str; 6] = ["avx2", "bmi1", "bmi2", "fma", "movbe", "aes"];

/// Those of `required` that `has` denies.
pub fn missing<'a>(required: &[&'a str], has: impl Fn(&str) -> bool) -> Vec<&'a str> {
    required.iter().copied().filter(|name| !has(name)).collect()
}

/// Says which required features this CPU lacks, if any.
pub fn check() -> Result<(), String> {
    let missing = missing(&REQUIRED, |name| match name {
        "avx2" => is_x86_feature_detected!("avx2"),
        "bmi1" => is_x86_feature_detected!("bmi1"),
        "bmi2" => is_x86_feature_detected!("bmi2"),
        "fma" => is_x86_feature_detected!("fma"),
        "movbe" => is_x86_feature_detected!("movbe"),
        "aes" => is_x86_feature_detected!("aes"),
        _ => false,
    });
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
    #[test]
    fn names_what_is_missing() {
        let has = |name: &str| name != "avx2" && name != "aes";
        assert_eq!(super::missing(&super::REQUIRED, has), ["avx2", "aes"]);
    }
}
