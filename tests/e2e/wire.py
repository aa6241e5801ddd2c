"""What packets look like on the two sides of the load balancer."""

from scapy.layers.inet import IP, TCP, UDP
from scapy.utils import checksum


def l4(packet):
    """The TCP or UDP layer."""
    return packet[TCP] if TCP in packet else packet[UDP]


def payload(packet):
    """The bytes after the transport header, without Ethernet padding."""
    ip = packet[IP]
    header = 4 * ip.ihl + (4 * ip[TCP].dataofs if TCP in ip else 8)
    return bytes(ip)[header : ip.len]


def assert_checksums(packet):
    """IPv4 header and transport checksum are right. A UDP checksum of 0 means "none"."""
    ip = packet[IP]
    raw = bytes(ip)[: ip.len]
    assert checksum(raw[: 4 * ip.ihl]) == 0, f"IPv4 checksum: {packet.summary()}"
    if UDP in ip and ip[UDP].chksum == 0:
        return
    segment = raw[4 * ip.ihl :]
    pseudo = raw[12:20] + bytes([0, ip.proto]) + len(segment).to_bytes(2, "big")
    assert checksum(pseudo + segment) == 0, f"transport checksum: {packet.summary()}"


def flows(packets, port):
    """{client port: packets in order} of the TCP or UDP packets from or to `port`."""
    found = {}
    for packet in packets:
        if IP in packet and (TCP in packet or UDP in packet):
            transport = l4(packet)
            if transport.dport == port:
                found.setdefault(transport.sport, []).append(packet)
            elif transport.sport == port:
                found.setdefault(transport.dport, []).append(packet)
    return found


def untouched(packet):
    """Everything of a TCP packet that balancing must not change."""
    ip, tcp = packet[IP], packet[TCP]
    return {
        "tos": ip.tos, "id": ip.id, "flags": int(ip.flags), "ip length": ip.len,
        "ip options": bytes(ip)[20 : 4 * ip.ihl],
        "seq": tcp.seq, "ack": tcp.ack, "tcp flags": int(tcp.flags), "window": tcp.window,
        "urgent": tcp.urgptr, "tcp options": bytes(tcp)[20 : 4 * tcp.dataofs],
        "payload": payload(packet),
    }


def assert_same_conversation(client_side, server_side, client, vip, server):
    """Each packet of one connection came out on the other side, with only the NAT's changes.

    `client`, `vip` and `server` are (address, port). The arguments are the packets of the
    connection as captured at the client and at the server.
    """
    for packet in (*client_side, *server_side):
        assert_checksums(packet)
    for to_server in (True, False):
        def mine(packets, far):
            source, destination = (client, far) if to_server else (far, client)
            return [
                p for p in packets
                if (p[IP].src, l4(p).sport) == source and (p[IP].dst, l4(p).dport) == destination
            ]

        near, far = mine(client_side, vip), mine(server_side, server)
        assert len(near) == len(far) > 0, (to_server, len(near), len(far))
        assert [untouched(p) for p in near] == [untouched(p) for p in far]
        first, second = (near, far) if to_server else (far, near)
        assert [p[IP].ttl - 1 for p in first] == [p[IP].ttl for p in second]
    assert len(client_side) == len(mine_total(client_side, client)), "strangers on the client side"
    assert len(server_side) == len(mine_total(server_side, client)), "strangers on the server side"


def mine_total(packets, client):
    """The packets that have `client` at one end."""
    return [
        p for p in packets
        if client in ((p[IP].src, l4(p).sport), (p[IP].dst, l4(p).dport))
    ]
