//! The body of an answer: given out in pieces, so that what a slow client has not taken is known.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::budget::Share;
use super::connections::{Phase, Place};

/// Bytes given to the connection at a time.
const PIECE: usize = 64 * 1024;

/// A body, what it takes of the memory for answers, and the connection it goes over.
#[derive(Debug)]
pub(super) struct AnswerBody {
    rest: Bytes,
    /// Given back when the last piece is with the connection.
    share: Option<Share>,
    place: Option<Rc<Place>>,
}

impl AnswerBody {
    pub(super) fn new(text: String) -> Self {
        Self { rest: text.into(), share: None, place: None }
    }

    /// Bytes.
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    /// Holds memory until it is taken.
    pub(super) fn hold(&mut self, share: Share) {
        self.share = Some(share);
    }

    /// Notes at `place` that the client takes it, and that it has.
    pub(super) fn go_over(&mut self, place: Rc<Place>) {
        place.enter(Phase::Answering);
        self.place = Some(place);
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let len = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(len);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            place.enter(Phase::Idle);
        }
    }
}
