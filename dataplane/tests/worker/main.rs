//! The worker's machinery with packets in memory: dispatcher, transmit buffers, the worker itself.

mod dispatcher;
mod frame;
mod lifecycle;
mod probe;
mod slices;
mod time;
mod transmit;
