//! What `show` prints, byte for byte: VPP's columns and wording, and the JSON of the same.

mod balancing;
mod network;
mod vips;
mod work;

use serde::Serialize;

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap()
}
