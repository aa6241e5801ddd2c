//! `[cpu]`: which CPU runs what.

use crate::{Span, Spanned};

/// How a worker waits for packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Never sleeps.
    Busy,
    /// Spins a while, then sleeps 50–100 µs at a time.
    Adaptive,
}

/// How many workers, or where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workers {
    /// `workers = N`: on CPUs of Sluice's choice.
    Count(Spanned<u16>),
    /// `corelist-workers = "1-3,8"`: one worker on each of these CPUs, ascending.
    Cores(Spanned<Vec<u16>>),
}

/// The `[cpu]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// CPU of the control thread.
    pub main_core: Spanned<u16>,
    /// The workers.
    pub workers: Workers,
    /// How workers wait; resolved from the devices when the file does not say.
    pub poll: Poll,
}

impl Cpu {
    /// The CPU of each worker, ascending, out of the `available` ones.
    ///
    /// A count takes the lowest CPUs that are not the main core, and the main core too when there
    /// are no others left, so that two workers run on a machine of two CPUs.
    ///
    /// # Errors
    ///
    /// A CPU that is asked for is not available.
    pub fn place(&self, available: &[u16]) -> Result<Vec<u16>, crate::Problem> {
        let missing = |cpu: u16, span: Span| {
            crate::Problem::new(span, format!("CPU {cpu} is not available to this process"))
                .with_hint(format!("available: {}", core_list(available)))
        };
        let main = self.main_core.value;
        if !available.contains(&main) {
            return Err(missing(main, self.main_core.span));
        }
        let mut cpus = match &self.workers {
            Workers::Cores(cores) => {
                if let Some(&cpu) = cores.iter().find(|cpu| !available.contains(cpu)) {
                    return Err(missing(cpu, cores.span));
                }
                cores.value.clone()
            }
            Workers::Count(count) => {
                let wanted = usize::from(count.value);
                if wanted > available.len() {
                    let reason = format!(
                        "{wanted} workers need {wanted} CPUs, and there are {}",
                        available.len()
                    );
                    return Err(crate::Problem::new(count.span, reason)
                        .with_hint(format!("available: {}", core_list(available))));
                }
                let mut others: Vec<u16> =
                    available.iter().copied().filter(|&cpu| cpu != main).collect();
                others.sort_unstable();
                others.into_iter().chain([main]).take(wanted).collect()
            }
        };
        cpus.sort_unstable();
        Ok(cpus)
    }
}

/// Writes CPUs the way `corelist-workers` takes them: `1-3,8`.
pub fn core_list(cpus: &[u16]) -> String {
    let mut cpus = cpus.to_vec();
    cpus.sort_unstable();
    cpus.dedup();
    let mut parts = Vec::new();
    let mut rest = &cpus[..];
    while let [first, ..] = rest {
        let run = rest.iter().zip(*first..).take_while(|&(&cpu, n)| cpu == n).count();
        parts.push(match run {
            1 => first.to_string(),
            _ => format!("{first}-{}", rest[run - 1]),
        });
        rest = &rest[run..];
    }
    parts.join(",")
}

/// Reads `1-3,8`.
///
/// # Errors
///
/// One line on what is wrong: no number, a descending range, a CPU twice, or one above
/// [`crate::defaults::MAX_CPU`].
pub fn parse_core_list(text: &str) -> Result<Vec<u16>, String> {
    let number = |word: &str| {
        let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
        match word.parse() {
            Ok(cpu) if digits && cpu <= crate::defaults::MAX_CPU => Ok(cpu),
            _ if digits => Err(format!("CPU {word} is above {}", crate::defaults::MAX_CPU)),
            _ => Err(format!("`{word}` is not a CPU number")),
        }
    };
    let mut cpus: Vec<u16> = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first.trim())?, number(last.trim())?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(format!("the range {part} runs backwards"));
        }
        for cpu in first..=last {
            if cpus.contains(&cpu) {
                return Err(format!("CPU {cpu} is listed twice"));
            }
            cpus.push(cpu);
        }
    }
    cpus.sort_unstable();
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(main: u16, workers: Workers) -> Cpu {
        Cpu { main_core: main.into(), workers, poll: Poll::Busy }
    }

    #[test]
    fn core_lists_read_and_write() {
        assert_eq!(parse_core_list("1-3,8").unwrap(), [1, 2, 3, 8]);
        assert_eq!(parse_core_list(" 8 , 1 - 2 ").unwrap(), [1, 2, 8]);
        assert_eq!(core_list(&[8, 3, 2, 1]), "1-3,8");
        assert_eq!(core_list(&[]), "");
        for (bad, why) in [
            ("", "not a CPU number"),
            ("1,", "not a CPU number"),
            ("3-1", "backwards"),
            ("1,1-2", "twice"),
            ("1-99999", "above"),
            ("a", "not a CPU number"),
            ("-1", "not a CPU number"),
        ] {
            let error = parse_core_list(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn workers_keep_off_the_main_core_while_they_can() {
        let two = || Workers::Count(2.into());
        assert_eq!(cpu(0, two()).place(&[0, 1, 2, 3]).unwrap(), [1, 2]);
        assert_eq!(cpu(2, two()).place(&[0, 1, 2, 3]).unwrap(), [0, 1]);
        assert_eq!(cpu(0, two()).place(&[0, 1]).unwrap(), [0, 1]);
        assert_eq!(cpu(0, Workers::Count(1.into())).place(&[0]).unwrap(), [0]);
        assert_eq!(cpu(0, Workers::Cores(vec![3, 1].into())).place(&[0, 1, 3]).unwrap(), [1, 3]);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_named() {
        let error = cpu(0, Workers::Count(3.into())).place(&[0, 1]).unwrap_err();
        assert_eq!(error.reason, "3 workers need 3 CPUs, and there are 2");
        let error = cpu(7, Workers::Count(1.into())).place(&[0, 1]).unwrap_err();
        assert_eq!(error.reason, "CPU 7 is not available to this process");
        assert_eq!(error.hint.as_deref(), Some("available: 0-1"));
        let error = cpu(0, Workers::Cores(vec![1, 5].into())).place(&[0, 1]).unwrap_err();
        assert_eq!(error.reason, "CPU 5 is not available to this process");
    }
}
