//! Faults of long runs against a served model, with either store: kills, power cuts, full disks, servers that
//! misbehave, and bugs planted on purpose (docs/decisions/0011). `SAFER_INSTRUCT_KILLS` says how many kills there are.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod bugs;
mod checks;
mod disk;
mod folder;
mod journal;
mod kills;
mod planted;
#[cfg(target_os = "linux")]
mod power;
mod served;
mod server;
mod trial;
mod worker;
