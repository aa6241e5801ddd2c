//! Notices when control stands still: a thread that looks at whether control's loop still turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::service_manager::ServiceManager;

/// For how long control may not turn before that is logged.
pub const LIMIT: Duration = Duration::from_secs(5);
/// How often the thread looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts the turns of control's loop.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Control has turned once more.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The thread; it ends with this.
#[derive(Debug)]
pub struct Watchdog {
    _end: Sender<()>,
}

impl Watchdog {
    /// Starts the thread, on the CPUs of the calling one, with all signals and rights as they are
    /// now. A service manager that wants to know is told for as long as `pulse` beats.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub fn start(pulse: Pulse, manager: Arc<ServiceManager>) -> std::io::Result<Self> {
        let (end, ended) = channel();
        let interval = manager.watchdog().map_or(INTERVAL, |within| INTERVAL.min(within / 3));
        std::thread::Builder::new().name("sluice-watchdog".to_owned()).spawn(move || {
            let mut watch = Watch::new(Instant::now());
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                let seen = watch.look(pulse.0.load(Ordering::Relaxed), Instant::now());
                match seen {
                    Seen::Stopped(since) => tracing::error!(
                        "control has not turned for {} s; workers forward on",
                        since.as_secs()
                    ),
                    Seen::Resumed(after) => {
                        tracing::warn!("control turns again after {} s", after.as_secs());
                    }
                    Seen::Turning | Seen::Still => {}
                }
                if matches!(seen, Seen::Turning | Seen::Resumed(_)) {
                    manager.tell("WATCHDOG=1");
                }
            }
        })?;
        Ok(Self { _end: end })
    }
}

/// What a look at the pulse shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It beats.
    Turning,
    /// It has not beaten since the last look.
    Still,
    /// It has not beaten for so long, which is [`LIMIT`] or more for the first time.
    Stopped(Duration),
    /// It beats again after so long.
    Resumed(Duration),
}

/// What was seen of the pulse.
struct Watch {
    turns: u64,
    /// When it was seen to beat.
    at: Instant,
    reported: bool,
}

impl Watch {
    fn new(now: Instant) -> Self {
        Self { turns: 0, at: now, reported: false }
    }

    fn look(&mut self, turns: u64, now: Instant) -> Seen {
        let since = now.duration_since(self.at);
        if turns != self.turns {
            (self.turns, self.at) = (turns, now);
            return match std::mem::take(&mut self.reported) {
                true => Seen::Resumed(since),
                false => Seen::Turning,
            };
        }
        if since < LIMIT || std::mem::replace(&mut self.reported, true) {
            return Seen::Still;
        }
        Seen::Stopped(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_reported_once_and_so_is_its_end() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut watch = Watch::new(start);
        assert_eq!(watch.look(5, at(1)), Seen::Turning);
        assert_eq!(watch.look(5, at(3)), Seen::Still);
        assert_eq!(watch.look(6, at(4)), Seen::Turning);
        assert_eq!(watch.look(6, at(8)), Seen::Still, "not yet");
        assert_eq!(watch.look(6, at(9)), Seen::Stopped(LIMIT));
        assert_eq!(watch.look(6, at(10)), Seen::Still, "reported already");
        assert_eq!(watch.look(7, at(20)), Seen::Resumed(Duration::from_secs(16)));
        assert_eq!(watch.look(8, at(21)), Seen::Turning);
    }
}
