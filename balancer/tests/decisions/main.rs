//! Decisions of a worker: stickiness, removal and flush, clashes, full tables, replies and direct
//! flows (FEATURES B-21, D-03 to D-08, E-02, E-03; VPP's defects 1, 2, 6, 7, 8, 22, 36).

mod collisions;
mod flows;
mod kinds;
mod life;
mod nat;
mod oracle;
mod round_robin;
mod world;
