"""Taking servers away: `del` keeps their flows, `del flush` moves them, weight 0 takes no new ones."""

from topology import wait_until

VIP, PORT = "20.20.20.1", 2020
AS = "lb as 20.20.20.1/32 protocol tcp port 2020 "


def ask(connection):
    """One request on an open connection; the server's name."""
    connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
    return connection.recv(4096).split(b"\r\n\r\n")[1].split()[0].decode()


def connections(farm, count=24):
    """Open connections, and the server of each."""
    opened = [farm.client.tcp(VIP, PORT) for _ in range(count)]
    return [(connection, ask(connection)) for connection in opened]


def close(held):
    for connection, _ in held:
        connection.close()


def address(farm, name):
    return farm.addresses[farm.SERVERS.index(name)]


def flows(farm):
    """{server name: live flows}"""
    found = farm.daemon.vip(VIP, PORT)["as"]
    return {name: found.get(address(farm, name), {}).get("flows", 0) for name in farm.SERVERS}


def new_connections(farm, count=24):
    """The servers that new connections reach."""
    return {farm.client.curl(f"http://{VIP}:{PORT}/").split()[0] for _ in range(count)}


def test_del_keeps_the_flows_of_the_server(farm):
    held = connections(farm)
    gone = held[0][1]
    farm.daemon.cli(AS + f"{address(farm, gone)} del")
    for connection, server in held:
        assert ask(connection) == server
    assert gone not in new_connections(farm)
    assert farm.daemon.vip(VIP, PORT)["as"][address(farm, gone)]["state"] == "removed"
    close(held)


def test_del_flush_moves_the_flows_at_once(farm):
    held = connections(farm)
    gone = held[0][1]
    farm.daemon.cli(AS + f"{address(farm, gone)} del flush")
    for connection, server in held:
        if server != gone:
            assert ask(connection) == server
    wait_until(lambda: flows(farm)[gone] == 0, 20, "all entries swept")
    # The kernel of the new server knows nothing of a moved connection: it resets it.
    moved = [connection for connection, server in held if server == gone]
    assert moved
    for connection in moved:
        try:
            ask(connection)
        except ConnectionResetError:
            continue
        raise AssertionError("a moved connection was answered")
    close(held)


def test_a_removed_server_that_comes_back_keeps_its_flows(farm):
    held = connections(farm)
    farm.daemon.cli(AS + f"{address(farm, 'server1')} del")
    farm.daemon.cli(AS + address(farm, "server1"))
    for connection, server in held:
        assert ask(connection) == server
    assert new_connections(farm, 40) == set(farm.SERVERS)
    close(held)


def test_weight_zero_takes_no_new_flows_and_keeps_the_old(farm):
    held = connections(farm)
    farm.daemon.cli(AS + f"{address(farm, 'server2')} weight 0")
    for connection, server in held:
        assert ask(connection) == server
    assert "server2" not in new_connections(farm)
    entry = farm.daemon.vip(VIP, PORT)["as"][address(farm, "server2")]
    assert (entry["weight"], entry["buckets"], entry["state"]) == (0, 0, "used")
    close(held)


def test_flush_vip_forgets_every_flow(farm):
    held = connections(farm)
    assert sum(flows(farm).values()) == 24
    assert farm.daemon.cli(f"lb flush vip {VIP}/32 protocol tcp port {PORT}").startswith(
        "lb_flush_vip ok "
    )
    # The flows are void at once; their entries are swept over the next turns.
    wait_until(lambda: sum(flows(farm).values()) == 0, 20, "all entries swept")
    close(held)


def test_no_server_is_counted_and_the_first_one_serves_at_once(farm):
    for name in farm.SERVERS:
        farm.daemon.cli(AS + f"{address(farm, name)} del flush")
    assert farm.client.curl(f"http://{VIP}:{PORT}/", check=False, max_time_s=1) is None
    assert farm.daemon.vip(VIP, PORT)["no server configured"] > 0
    # VPP never tracks a flow whose first packet met no server (defect 1).
    farm.daemon.cli(AS + address(farm, "server3"))
    assert new_connections(farm, 6) == {"server3"}
    assert farm.daemon.vip(VIP, PORT)["untracked packet"] == 0


def test_deleting_the_vip_frees_everything(farm):
    held = connections(farm)
    farm.daemon.cli(f"lb vip {VIP}/32 protocol tcp port {PORT} del")
    assert farm.client.curl(f"http://{VIP}:{PORT}/", check=False, max_time_s=1) is None
    close(held)
    wait_until(lambda: f"{VIP}/32" not in farm.daemon.cli("show lb vips"), 20, "the VIP is gone")
    farm.daemon.cli(
        f"lb vip {VIP}/32 protocol tcp port {PORT} encap nat4 type clusterip target_port 8080",
        AS + " ".join(farm.addresses),
    )
    assert new_connections(farm) <= set(farm.SERVERS)
