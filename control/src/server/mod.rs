//! The daemon's sockets: HTTP/1.1 with JSON, for `sluicectl`, `curl` and tools.
//!
//! Whatever clients do, memory is bounded and others are served: connections have places
//! (`connections`), bodies and answers have budgets (`budget`), and a client that does not take its
//! answer is left (`patient_stream`).

mod access;
mod answer;
mod body;
mod budget;
mod config;
mod connections;
mod entrance;
mod http;
mod patient_stream;
mod question;
mod socket;
mod token;

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

pub use access::{Access, Right};
pub use entrance::Entrance;
pub use socket::Socket;
pub use token::Token;

use crate::execute::Shared;
use access::Caller;
use budget::Budget;
use connections::{Connections, Seat};
use http::Exchange;
use patient_stream::PatientStream;
use socket::Incoming;

/// Connections of the UNIX socket served at once, and as many that are only told that they are not.
pub const MAX_CONNECTIONS: usize = 64;
/// Connections of the TCP listener served at once.
const MAX_TCP_CONNECTIONS: usize = 32;
/// Time a client has for the head of a request, which is also how long it may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes a connection buffers of what it reads and writes: the longest head of a request.
const BUFFER: usize = 64 * 1024;
/// Bytes of all bodies that have not come whole or are being run.
const BODIES: usize = 64 * 1024 * 1024;
/// Bytes of all answers that have not been taken.
const ANSWERS: usize = 128 * 1024 * 1024;

/// What all connections share.
struct Server {
    shared: Shared,
    access: Rc<Access>,
    bodies: Budget,
    answers: Budget,
    unix: Connections,
    tcp: Connections,
    /// Those that are only told why they are not served.
    refused: Connections,
}

/// Serves connections for ever. Runs on a `LocalSet`.
pub async fn serve(socket: &Socket, shared: &Shared) -> Infallible {
    let server = Rc::new(Server {
        shared: shared.clone(),
        access: Rc::clone(socket.access()),
        bodies: Budget::new(BODIES),
        answers: Budget::new(ANSWERS),
        unix: Connections::new(MAX_CONNECTIONS),
        tcp: Connections::new(MAX_TCP_CONNECTIONS),
        refused: Connections::new(MAX_CONNECTIONS),
    });
    let mut connections = JoinSet::new();
    loop {
        match socket.accept().await {
            Ok(incoming) => {
                while connections.try_join_next().is_some() {}
                server.clone().admit(incoming, &mut connections);
            }
            Err(error) => {
                // Out of descriptors, most likely: give connections time to end.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Server {
    /// Gives a connection a place, or tells it that there is none.
    fn admit(self: Rc<Self>, incoming: Incoming, connections: &mut JoinSet<()>) {
        match incoming {
            Incoming::Unix(stream) => {
                // It has gone already if the kernel does not know it.
                let Ok(caller) = self.access.of_peer(&stream) else { return };
                let seat = match caller.right {
                    Right::None => None,
                    Right::Read | Right::Write => self.unix.enter(),
                };
                if let Some(exchange) = self.exchange(caller, seat) {
                    connections.spawn_local(connection(stream, exchange));
                }
            }
            Incoming::Tcp(stream, address) => {
                let _ = stream.set_nodelay(true);
                let seat = self.tcp.enter();
                if let Some(exchange) = self.exchange(Caller::tcp(address), seat) {
                    connections.spawn_local(connection(stream, exchange));
                }
            }
        }
    }

    /// What a connection needs; without a seat it is one of those that are refused.
    fn exchange(self: Rc<Self>, caller: Caller, seat: Option<Seat>) -> Option<Exchange> {
        let refused = seat.is_none();
        // Not even a refusal for more than these.
        let seat = seat.or_else(|| self.refused.enter())?;
        Some(Exchange { server: self, caller, seat, refused })
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, exchange: Exchange) {
    let exchange = Rc::new(exchange);
    let answering = Rc::clone(&exchange);
    let service = service_fn(move |request| {
        let exchange = Rc::clone(&answering);
        async move { Ok::<_, Infallible>(exchange.answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(!exchange.refused)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(PatientStream::new(stream)), service);
    tokio::select! {
        // Clients come and go as they like.
        result = served => if let Err(error) = result {
            tracing::debug!("{}: {error}", exchange.caller);
        },
        () = exchange.seat.place.closed() => {
            tracing::debug!("{}: closed to make room", exchange.caller);
        }
    }
}
