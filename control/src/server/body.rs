//! The body of a request, as text.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Bytes};

use super::budget::Share;

/// Longest body of a request, in bytes: as long as a command file may be.
const MAX: usize = 16 * 1024 * 1024;
/// Time a client has for the body of a request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is none.
pub(super) type Refusal = (StatusCode, String);

/// Takes a body whole. Its bytes count in `share`.
pub(super) async fn text<B>(body: B, share: &mut Share) -> Result<String, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let taken = tokio::time::timeout(TIMEOUT, collect(body, share)).await;
    let late = |_| (StatusCode::REQUEST_TIMEOUT, "the body did not come in time".to_owned());
    let bytes = taken.map_err(late)??;
    String::from_utf8(bytes)
        .map_err(|_| (StatusCode::BAD_REQUEST, "the body is not UTF-8".to_owned()))
}

async fn collect<B>(mut body: B, share: &mut Share) -> Result<Vec<u8>, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let too_long = || {
        let reason = format!("a body has at most {MAX} bytes");
        Err((StatusCode::PAYLOAD_TOO_LARGE, reason))
    };
    if body.size_hint().lower() > MAX as u64 {
        // By its own word: nothing of it is read.
        return too_long();
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err((StatusCode::BAD_REQUEST, "the body could not be read".to_owned()));
        };
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > MAX {
            return too_long();
        }
        if !share.grow(data.len()) {
            let reason = "the bodies of other requests fill the memory for them; try again later";
            return Err((StatusCode::SERVICE_UNAVAILABLE, reason.to_owned()));
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}
