//! [`Hangup`]: SIGHUP, which asks for a reload.

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::execute::Shared;

/// SIGHUP. From when this is made, the signal no longer ends the process.
#[derive(Debug)]
pub struct Hangup(Signal);

impl Hangup {
    /// Takes the signal over.
    ///
    /// # Errors
    ///
    /// The signal cannot be waited for.
    pub fn new(runtime: &Runtime) -> std::io::Result<Self> {
        let _inside = runtime.enter();
        signal(SignalKind::hangup()).map(Self)
    }

    /// Reloads the file that the daemon was started with, each time the signal comes.
    pub async fn serve(mut self, shared: Shared) {
        while self.0.recv().await.is_some() {
            tracing::info!("SIGHUP: reloading");
            shared.reload_and_log().await;
        }
    }
}
