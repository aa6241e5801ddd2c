//! `fuzz TARGET FILE…` runs a target with the bytes of files; `fuzz seeds` writes what the corpus
//! began with. Built by `fuzz.sh`, it is libFuzzer with the target that `SLUICE_FUZZ_TARGET` named.

#![cfg_attr(sluice_fuzzer, no_main)]

#[cfg(sluice_fuzzer)]
mod fuzzer {
    use std::sync::Once;

    use fuzz::{TARGETS, Target};

    /// Chosen when this is compiled, so that the others are not in the program: libFuzzer looks at
    /// all that is in it after each input.
    const TARGET: Target = match option_env!("SLUICE_FUZZ_TARGET") {
        Some(name) => TARGETS[index_of(name.as_bytes())],
        None => panic!("SLUICE_FUZZ_TARGET names no target"),
    };

    const fn index_of(name: &[u8]) -> usize {
        let mut index = 0;
        while !is_equal(TARGETS[index].name.as_bytes(), name) {
            index += 1;
        }
        index
    }

    const fn is_equal(one: &[u8], other: &[u8]) -> bool {
        let mut at = 0;
        while at < one.len() && at < other.len() && one[at] == other[at] {
            at += 1;
        }
        at == one.len() && at == other.len()
    }

    /// An abort, and not an end of this thread alone, is what libFuzzer keeps the input of.
    fn abort_on_panic() {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            report(panic);
            std::process::abort();
        }));
    }

    /// What libFuzzer calls with one input.
    // SAFETY: nothing else in the program has this name.
    #[unsafe(no_mangle)]
    pub(super) extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, size: usize) -> i32 {
        // SAFETY: libFuzzer gives `size` bytes that stay as they are during the call; the pointer may
        // be anything when there are none.
        let bytes = if size == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data, size) } };
        static FIRST: Once = Once::new();
        FIRST.call_once(abort_on_panic);
        (TARGET.run)(bytes);
        0
    }
}

#[cfg(not(sluice_fuzzer))]
fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    if name == "seeds" {
        return write_seeds();
    }
    let Some(target) = fuzz::Target::named(&name) else {
        let names = fuzz::TARGETS.map(|target| target.name).join(", ");
        return Err(std::io::Error::other(format!("no target {name:?}; there are {names}")));
    };
    for path in arguments {
        (target.run)(&std::fs::read(&path)?);
        println!("{path}: nothing wrong");
    }
    Ok(())
}

#[cfg(not(sluice_fuzzer))]
fn write_seeds() -> std::io::Result<()> {
    for target in fuzz::TARGETS {
        std::fs::create_dir_all(target.folder())?;
        for (number, bytes) in (target.seeds)().iter().enumerate() {
            std::fs::write(target.folder().join(format!("seed-{number:03}")), bytes)?;
        }
    }
    Ok(())
}
