//! Every command.

use config::{Command, Debug, LbNoMatch, LbVipUpdate, NoMatch, PanicPlace, Ping, WaitDrained};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::balancing::{conf, servers, update, vip};
use crate::network::{link_command, network_command};
use crate::shows::show;
use crate::values::{any_address, any_of, family, name, prefix_of, spanned, vip_key};

pub(crate) fn command() -> impl Strategy<Value = Command> {
    let ping =
        (spanned(any_address()), of(name()), of(0u16..=1400), of(1u32..=60_000), of(1u32..=1000))
            .prop_map(|(address, source, size, interval_ms, repeat)| {
                Command::Ping(Ping { address, source, size, interval_ms, repeat })
            });
    let wait = (vip_key(), spanned(any_address()), of(spanned(0u32..=31_536_000))).prop_map(
        |(vip, server, timeout_s)| Command::WaitDrained(WaitDrained { vip, server, timeout_s }),
    );
    let trace = (name(), spanned(1u32..=100_000))
        .prop_map(|(node, count)| Command::TraceAdd { node, count });
    let no_match = (spanned(family().prop_flat_map(prefix_of)), of(any_of(NoMatch::ALL)))
        .prop_map(|(prefix, policy)| Command::LbNoMatch(LbNoMatch { prefix, policy }));
    let exec = "/[a-z0-9/._-]{0,20}"
        .prop_map(|f| Command::Exec { file: std::path::PathBuf::from(f).into() });
    let file = || of("/[a-z0-9/._-]{0,20}".prop_map(|f| std::path::PathBuf::from(f).into()));
    let reload = (file(), of(spanned(1u32..=86_400)))
        .prop_map(|(file, confirm_s)| Command::Reload { file, confirm_s });
    let files = prop_oneof![
        reload,
        file().prop_map(|file| Command::Diff { file }),
        file().prop_map(|file| Command::Save { file }),
    ];
    prop_oneof![
        1 => files,
        3 => vip().prop_map(Command::LbVipAdd),
        3 => servers().prop_map(Command::LbAs),
        1 => vip_key().prop_map(Command::LbVipDel),
        1 => vip_key().prop_map(Command::LbFlushVip),
        1 => Just(Command::LbFlushAll),
        2 => update()
            .prop_filter("says something", |update| *update != LbVipUpdate::new(update.key))
            .prop_map(Command::LbVipUpdate),
        1 => no_match,
        2 => link_command(),
        2 => conf().prop_map(Command::LbConf),
        4 => network_command(),
        4 => (show(), any::<bool>()).prop_map(|(show, json)| Command::Show { show, json }),
        1 => ping,
        1 => wait,
        1 => trace,
        1 => debug(),
        1 => exec,
        1 => vec("[a-z]{1,5}", 0..3).prop_map(|topic| Command::Help { topic }),
        1 => prop_oneof![
            Just(Command::Blank),
            Just(Command::ReloadCancel),
            Just(Command::Confirm),
            Just(Command::ClearTrace),
            Just(Command::ClearRuntime),
            Just(Command::ClearErrors),
            Just(Command::ClearInterfaces),
            Just(Command::Quit)
        ],
    ]
}

fn debug() -> impl Strategy<Value = Command> {
    prop_oneof![
        select(PanicPlace::ALL).prop_map(Debug::ControlPanic),
        spanned(1u16..=600).prop_map(Debug::ControlHang),
        spanned(any::<u16>()).prop_map(Debug::WorkerPanic),
    ]
    .prop_map(Command::Debug)
}
