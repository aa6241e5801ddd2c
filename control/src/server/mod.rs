//! The daemon's socket: HTTP/1.1 with JSON on a UNIX socket, for `sluicectl`, `curl` and tools.

mod config;
mod http;
mod question;
mod socket;

use std::convert::Infallible;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

pub use socket::Socket;

use crate::execute::Shared;

/// Connections served at once; further ones are told so and closed.
pub const MAX_CONNECTIONS: usize = 64;
/// Time a client has for the head of a request, which is also how long it may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves connections for ever. Runs on a `LocalSet`.
pub async fn serve(socket: &Socket, shared: &Shared) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        match socket.accept().await {
            Ok(stream) => {
                while connections.try_join_next().is_some() {}
                let full = connections.len() >= MAX_CONNECTIONS;
                if full && connections.len() >= 2 * MAX_CONNECTIONS {
                    // Not even a refusal for these.
                    continue;
                }
                connections.spawn_local(connection(stream, shared.clone(), full));
            }
            Err(error) => {
                // Out of descriptors, most likely: give connections time to end.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, shared: Shared, full: bool) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move {
            Ok::<_, Infallible>(match full {
                true => http::too_many(MAX_CONNECTIONS),
                false => http::answer(&shared, request).await,
            })
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(!full)
        .serve_connection(TokioIo::new(stream), service);
    // Clients come and go as they like.
    if let Err(error) = served.await {
        tracing::debug!("connection: {error}");
    }
}
