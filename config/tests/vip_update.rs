//! `lb vip … update`: what may change, and what would cut flows off.

use config::{Command, Encap, LbVipAdd, LbVipUpdate, Scheduler, parse_line};

const KEY: &str = "lb vip 90.0.0.1/32 protocol tcp port 80";

fn vip(words: &str) -> LbVipAdd {
    match parse_line(&format!("{KEY} {words}")) {
        Ok(Command::LbVipAdd(vip)) => vip,
        other => panic!("`{words}` means {other:?}"),
    }
}

fn update(words: &str) -> (String, LbVipUpdate) {
    let line = format!("{KEY} {words} update");
    match parse_line(&line) {
        Ok(Command::LbVipUpdate(update)) => (line, update),
        other => panic!("`{line}` means {other:?}"),
    }
}

/// What a VIP becomes.
#[track_caller]
fn becomes(old: &str, words: &str, new: &str) {
    match update(words).1.onto(&vip(old)) {
        Ok(changed) => assert_eq!(changed, vip(new)),
        Err(problem) => panic!("{old} + {words}: {problem:?}"),
    }
}

/// Checks that a change is refused at `token` for a reason that contains `why`.
#[track_caller]
fn refused(old: &str, words: &str, token: &str, why: &str) {
    let (line, update) = update(words);
    let problem = update.onto(&vip(old)).expect_err(words);
    assert_eq!(problem.span.text(&line), token, "{problem:?}");
    assert!(problem.reason.contains(why), "{problem:?}");
    assert!(problem.hint.is_some(), "{problem:?}");
}

#[test]
fn parameters_change_and_the_others_stay() {
    becomes("encap gre4 new_len 1024", "name web", "encap gre4 new_len 1024 name web");
    becomes("encap gre4 new_len 1024", "new_len 2048", "encap gre4 new_len 2048");
    becomes("src_ip_sticky", "src_ip_sticky off", "");
    becomes("", "src_ip_sticky", "src_ip_sticky");
    becomes("mss 1300", "mss off", "mss off");
    becomes("timeout 60", "tcp-close-timeout 5", "timeout 60 tcp-close-timeout 5");
    becomes("timeout 60 tcp-close-timeout 5", "timeout default", "tcp-close-timeout 5");
    refused("", "udp-timeout 5", "5", "about UDP, and the VIP is for tcp");
    becomes("scheduler rr", "src_ip_sticky scheduler maglev", "src_ip_sticky scheduler maglev");
    becomes("encap nat4 target_port 81", "scheduler rr", "encap nat4 target_port 81 scheduler rr");
}

#[test]
fn methods_that_keep_the_way_of_replies_change() {
    for old in ["gre4", "gre6", "ipip", "gue", "dr", "l3dsr dscp 7"] {
        for new in ["gre4", "gre6", "ipip", "gue", "dr", "l3dsr dscp 9"] {
            becomes(&format!("encap {old}"), &format!("encap {new}"), &format!("encap {new}"));
        }
        refused(
            &format!("encap {old}"),
            "encap nat4",
            "nat4",
            "replies of its flows go another way",
        );
        refused(
            "encap nat4",
            &format!("encap {old}"),
            &old[..old.find(' ').unwrap_or(old.len())],
            "another way",
        );
    }
    becomes("encap l3dsr dscp 7", "encap l3dsr", "encap l3dsr dscp 7");
    refused("encap gre4", "encap l3dsr", "l3dsr", "needs a dscp");
    refused("encap gre4", "dscp 4", "4", "with encap l3dsr only");
    refused("", "encap nat4", "nat4", "encap gre4 cannot become nat4");
}

#[test]
fn ports_of_flows_do_not_change() {
    let nat = "encap nat4 target_port 81";
    becomes(nat, "target_port 81", nat);
    becomes("encap nat4", "target_port 80", "encap nat4");
    refused(nat, "target_port 82", "82", "in mid-connection");
    refused("encap nat4", "target_port 81", "81", "in mid-connection");
    refused("encap nat4", "type nodeport", "nodeport", "type clusterip cannot become nodeport");
    let node = "encap nat4 type nodeport node_port 30080";
    becomes(node, "type nodeport node_port 30080 name n", &format!("{node} name n"));
    refused(node, "type clusterip", "clusterip", "would lose their entry");
    refused(node, "node_port 30081", "30081", "would be cut off");
    refused("encap gre4", "target_port 81", "81", "in mid-connection");
}

#[test]
fn what_a_vip_becomes_must_make_sense() {
    refused("src_ip_sticky", "scheduler rr", "rr", "exclude each other");
    refused("scheduler rr", "src_ip_sticky", "src_ip_sticky", "exclude each other");
    let changed = update("scheduler rr").1.onto(&vip("")).unwrap();
    assert_eq!((changed.scheduler(), changed.encap()), (Scheduler::RoundRobin, Encap::Gre4));
}

#[test]
fn an_update_says_something() {
    let error = parse_line(&format!("{KEY} update")).unwrap_err();
    assert_eq!((error.token.as_str(), error.column), ("update", KEY.len() + 2));
    assert!(error.reason.contains("nothing to change"), "{error}");
    let del = parse_line(&format!("{KEY} encap nat4 update del")).unwrap();
    assert_eq!(del.to_string(), format!("{KEY} del"), "del ignores the other words");
}
