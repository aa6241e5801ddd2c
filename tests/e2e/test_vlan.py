"""802.1Q: sub-interfaces, priority tags, two tags; frames are made and read by the test."""

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw
from tap_rig import TapRig


@pytest.fixture
def rig(topology, daemons):
    """Clients on VLAN 100 of pg0, servers on VLAN 200 of pg1, and pg0 itself without a tag."""
    made = TapRig(topology, daemons, {"pg0": ["172.16.1.1/24"], "pg1": []})
    made.daemon.cli(
        "create sub-interfaces pg0 100", "create sub-interfaces pg1 200 dot1q 200",
        "set interface state pg0.100 up", "set interface state pg1.200 up",
        "set interface ip address pg0.100 172.16.100.1/24", "set interface ip address pg1.200 10.0.0.254/24",
    )
    made.daemon.cli(
        f"set ip neighbor pg0.100 172.16.100.2 {made['pg0'].peer} static",
        f"set ip neighbor pg1.200 10.0.0.1 {made['pg1'].peer} static",
        f"set ip neighbor pg0 172.16.1.2 {made['pg0'].peer} static",
    )
    made.drain()
    return made


def tagged(port, *tags, priority=0):
    head = port.ether()
    for tag in tags:
        head = head / Dot1Q(vlan=tag, prio=priority)
    return head


def tags(frame):
    """The VLAN tags of a frame, outermost first."""
    found, layer = [], frame.payload
    while isinstance(layer, (Dot1Q, Dot1AD)):
        found.append(layer.vlan)
        layer = layer.payload
    return found


PROBE = IP(src="172.16.100.2", dst="10.0.0.1") / UDP(sport=1, dport=2) / Raw(b"from one vlan to another")


def test_routing_from_vlan_to_vlan(rig):
    with rig.counted():
        rig["pg0"].send(tagged(rig["pg0"], 100) / PROBE)
        (got,) = rig["pg1"].receive(1)
    assert tags(got) == [200] and (got.src, got.dst) == (rig["pg1"].mac, rig["pg1"].peer)
    assert bytes(got[UDP].payload) == b"from one vlan to another" and got[IP].ttl == 63
    rig["pg1"].send(tagged(rig["pg1"], 200) / IP(src="10.0.0.1", dst="172.16.1.2") / UDP())
    (back,) = rig["pg0"].receive(1)
    assert tags(back) == [], "the parent interface itself has no tag"


def test_arp_is_answered_in_the_vlan_it_was_asked_in(rig):
    wire = rig["pg0"]

    def ask(address, *vlans):
        wire.send(
            Ether(src=wire.peer, dst="ff:ff:ff:ff:ff:ff")
            / (Dot1Q(vlan=vlans[0]) / ARP(hwsrc=wire.peer, psrc="172.16.100.2", pdst=address)
               if vlans else ARP(hwsrc=wire.peer, psrc="172.16.1.2", pdst=address))
        )
        data = wire.frame(0.5)
        return data and Ether(data)

    answer = ask("172.16.100.1", 100)
    assert tags(answer) == [100] and answer[ARP].hwsrc == wire.mac and answer[ARP].op == 2
    assert tags(ask("172.16.1.1")) == []
    assert ask("172.16.1.1", 100) is None, "an address of another interface"
    assert ask("172.16.100.1") is None


@pytest.mark.parametrize("encap", ["nat4", "dr", "ipip"])
def test_a_vip_between_vlans(rig, encap):
    key = "90.0.0.1/32 protocol udp port 53"
    rig.daemon.cli(f"lb vip {key} encap {encap}", f"lb as {key} 10.0.0.1")
    if encap == "nat4":
        rig.daemon.cli("lb set interface nat4 in pg1.200")
    query = IP(src="172.16.100.2", dst="90.0.0.1") / UDP(sport=999, dport=53) / Raw(b"who?")
    rig["pg0"].send(tagged(rig["pg0"], 100) / query)
    (got,) = rig["pg1"].receive(1)
    assert tags(got) == [200] and got.dst == rig["pg1"].peer
    if encap == "dr":
        assert bytes(got[IP])[: len(query)] == bytes(query)
    elif encap == "ipip":
        assert got[IP].src == "10.0.0.254" and bytes(got[IP].payload)[: len(query)] == bytes(query)
    else:
        rig["pg1"].send(
            tagged(rig["pg1"], 200) / IP(src="10.0.0.1", dst="172.16.100.2") / UDP(sport=53, dport=999) / Raw(b"I")
        )
        (back,) = rig["pg0"].receive(1)
        assert tags(back) == [100] and (back[IP].src, back[UDP].sport) == ("90.0.0.1", 53)


def test_a_vlan_nobody_made_is_dropped_and_counted(rig):
    with rig.counted({("ethernet-input", "unknown vlan"): 3}):
        rig["pg0"].send(
            tagged(rig["pg0"], 101) / PROBE,
            tagged(rig["pg0"], 100, 5) / PROBE,
            tagged(rig["pg0"], 4095) / PROBE,
        )
    assert rig["pg1"].receive(timeout_s=0.3) == []


def test_a_priority_tag_is_no_vlan(rig):
    """VLAN 0 says only how urgent the frame is: it belongs to the interface without a tag."""
    echo = IP(src="172.16.1.2", dst="172.16.1.1") / ICMP(id=1) / Raw(b"urgent")
    rig["pg0"].send(tagged(rig["pg0"], 0, priority=5) / echo)
    (answer,) = rig["pg0"].receive(1)
    assert tags(answer) == [] and answer[ICMP].type == 0


@pytest.mark.parametrize("outer, ethertype", [("dot1q", 0x8100), ("dot1ad", 0x88A8)])
def test_two_tags(rig, outer, ethertype):
    rig.daemon.cli(
        f"create sub-interfaces pg0 300 {outer} 30 inner-dot1q 31", "set interface state pg0.300 up",
        "set interface ip address pg0.300 172.16.30.1/24",
        f"set ip neighbor pg0.300 172.16.30.2 {rig['pg0'].peer} static",
    )
    head = Ether(src=rig["pg0"].peer, dst=rig["pg0"].mac, type=ethertype)
    head = head / Dot1Q(vlan=30, type=0x8100) / Dot1Q(vlan=31)
    rig["pg0"].send(head / IP(src="172.16.30.2", dst="172.16.30.1") / ICMP(id=3))
    (answer,) = rig["pg0"].receive(1)
    assert answer.type == ethertype and tags(answer) == [30, 31] and answer[ICMP].type == 0
    # One of the two tags alone is another VLAN.
    with rig.counted({("ethernet-input", "unknown vlan"): 1}):
        rig["pg0"].send(tagged(rig["pg0"], 30) / IP(src="172.16.30.2", dst="172.16.30.1") / ICMP())


def test_a_sub_interface_has_counters_and_an_end(rig):
    def counters():
        entries = rig.daemon.interfaces()
        return entries["pg0.100"]["counters"]["rx_packets"], entries["pg1.200"]["counters"]["tx_packets"]

    before = counters()
    rig["pg0"].send(tagged(rig["pg0"], 100) / PROBE)
    rig["pg1"].receive(1)
    assert counters() == (before[0] + 1, before[1] + 1)
    assert rig.daemon.refused("delete sub-interface pg0"), "not one"
    rig.daemon.cli("set interface ip address del pg0.100 172.16.100.1/24", "delete sub-interface pg0.100")
    assert "pg0.100" not in rig.daemon.interfaces()
    with rig.counted({("ethernet-input", "unknown vlan"): 1}):
        rig["pg0"].send(tagged(rig["pg0"], 100) / PROBE)
