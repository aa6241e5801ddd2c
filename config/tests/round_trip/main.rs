//! Properties: what is rendered parses back, and nothing makes the parsers panic.

mod balancing;
mod commands;
mod network;
mod nonsense;
mod shows;
mod values;

use config::{Command, LbVipUpdate, check_vip, parse_line, report_line};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::balancing::{servers, update, vip};
use crate::commands::command;
use crate::shows::show;

proptest! {
    #[test]
    fn a_rendered_command_parses_back(command in command()) {
        let line = command.to_string();
        match parse_line(&line) {
            Ok(parsed) => prop_assert_eq!(parsed, command),
            Err(error) => prop_assert!(false, "{}", report_line(&line, &error)),
        }
    }

    #[test]
    fn a_vip_that_can_be_stays_one_when_updated(vip in vip(), words in update()) {
        prop_assert_eq!(check_vip(&vip), []);
        let words = LbVipUpdate { key: vip.key, ..words };
        match words.onto(&vip) {
            Ok(new) => {
                prop_assert_eq!(check_vip(&new), []);
                prop_assert_eq!(new.key, vip.key);
                prop_assert_eq!(new.encap().is_nat(), vip.encap().is_nat());
                prop_assert_eq!((new.target(), new.node_port()), (vip.target(), vip.node_port()));
                prop_assert_eq!(parse_line(&new.to_string()), Ok(Command::LbVipAdd(new)));
            }
            Err(problem) => prop_assert!(problem.hint.is_some(), "{problem:?}"),
        }
        let nothing = LbVipUpdate::new(vip.key).onto(&vip);
        prop_assert_eq!(nothing, Ok(vip));
    }

    #[test]
    fn spans_point_at_the_words(servers in servers()) {
        let line = servers.to_string();
        let Ok(Command::LbAs(parsed)) = parse_line(&line) else {
            panic!("{line}");
        };
        prop_assert_eq!(parsed.vip.prefix.span.text(&line), parsed.vip.prefix.to_string());
        for address in parsed.addresses {
            prop_assert_eq!(address.span.text(&line), address.to_string());
        }
    }

    #[test]
    fn cutting_path_words_short_changes_nothing(
        show in show(),
        cuts in vec(any::<prop::sample::Index>(), 2),
    ) {
        let line = format!("show {show}");
        let full = parse_line(&line).unwrap();
        let mut words: Vec<&str> = line.split(' ').collect();
        // Only the path may be cut, and only `show` and the word after it surely belong to it.
        for (word, cut) in words.iter_mut().zip(cuts).take(2) {
            *word = &word[..=cut.index(word.len())];
        }
        // As in VPP, where no other word begins so: runtime, not running-config.
        prop_assume!(words[1] != "run");
        // A whole word beats the longer ones it begins, ip6 and ipip.
        prop_assume!(words[1] != "ip" || line.starts_with("show ip "));
        let short = words.join(" ");
        match parse_line(&short) {
            Ok(parsed) => prop_assert_eq!(parsed, full),
            Err(error) => prop_assert!(error.reason.contains("ambiguous"), "{short}: {error}"),
        }
    }
}
