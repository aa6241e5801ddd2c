"""A thousand changes a second while connections are held: those on servers that nobody touched stay whole."""

from churn_rig import VIPS, Changes, ChurnRig, untouched

SECONDS = 12
PER_VIP = 12


def test_connections_on_untouched_servers_outlive_a_thousand_changes_a_second(topology, daemons):
    rig = ChurnRig(topology, buckets=16384)
    daemon = daemons(rig.config)
    daemon.warm(rig.client, *untouched())
    early = rig.hold(SECONDS, PER_VIP)
    changes = Changes(daemon.api)
    changes.start()
    # These may get servers that come and go; what they must not do is disturb anybody.
    late = rig.hold(SECONDS - 4, PER_VIP)
    held = rig.held(early)
    changes.stop()
    rig.held(late)
    assert changes.failed_requests == 0
    assert changes.refused < changes.made / 2, "most changes were carried out"
    rate = changes.made / changes.seconds
    print(f"{changes.made} changes, {rate:.0f}/s; {sum(c['blocks'] for c in held)} blocks of {len(held)} connections")
    assert len(held) == PER_VIP * len(VIPS)
    broken = [connection for connection in held if connection["error"]]
    assert broken == [], daemon.tail()
    assert all(connection["blocks"] > 10 for connection in held), held
    # `check_and_stop` then finds each packet accounted for, and all buffers back.
