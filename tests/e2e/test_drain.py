"""Draining servers: connections are held while their server drains, new ones go elsewhere, and
`sluicectl wait drained` knows when it is over."""

import subprocess
import time

from conftest import Farm
from daemon import SLUICECTL
from test_cli import Terminal
from test_removal import AS, PORT, VIP, address, ask, close, connections, new_connections
from topology import wait_until

KEY = f"{VIP}/32 protocol tcp port {PORT}".split()


def quick(topology, daemons):
    """The farm, whose closed connections are forgotten after a second."""
    return Farm(topology, daemons, tcp_closing_timeout=1)


def wait(farm, server, *words):
    """`sluicectl wait drained …`; its exit status and all that it printed."""
    done = farm.daemon.ctl("wait", "drained", *KEY, server, *words, check=False)
    return done.returncode, done.stdout + done.stderr


def entry(farm, server):
    return farm.daemon.vip(VIP, PORT)["as"].get(server)


def events(farm):
    return [(event["kind"], event["as"]) for event in farm.daemon.api.get("events")["events"]]


def test_connections_are_held_while_their_server_drains(topology, daemons):
    farm = quick(topology, daemons)
    held = connections(farm)
    name = held[0][1]
    server = address(farm, name)
    flows = sum(server == name for _, server in held)
    farm.daemon.cli(AS + f"{server} weight 50", AS + f"{server} drain")
    shown = entry(farm, server)
    assert (shown["weight"], shown["buckets"], shown["state"]) == (50, 0, "draining")
    assert shown["flows"] == flows
    for connection, server_name in held:
        assert ask(connection) == server_name
    assert name not in new_connections(farm, 12)
    status, text = wait(farm, server, "timeout", "1")
    assert (status, text) == (3, f"after 1 s {flows} flows of {server} are left\n")
    listed = farm.daemon.api.get(f"lb/flows?vip={VIP}/32&as={server}&client=10.10.10.0/24")["flows"]
    ports = {connection.getsockname()[1] for connection, of in held if of == name}
    assert {flow["client_port"] for flow in listed} == ports
    close(held)
    status, text = wait(farm, server, "timeout", "60")
    assert status == 0, text
    assert entry(farm, server)["state"] == "drained"
    assert events(farm) == [("drain", server), ("drained", server)]
    farm.daemon.cli(AS + f"{server} undrain")
    assert entry(farm, server)["weight"] == 50
    wait_until(lambda: name in new_connections(farm, 10), 20, f"{name} serves again")


def test_drain_then_del_takes_the_server_out_when_its_last_connection_has_ended(topology, daemons):
    farm = quick(topology, daemons)
    held = connections(farm)
    name = held[0][1]
    server = address(farm, name)
    farm.daemon.cli(AS + f"{server} drain then del")
    waiting = subprocess.Popen(
        [SLUICECTL, "-s", farm.daemon.socket, "wait", "drained", *KEY, server],
        stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
    )
    assert name not in new_connections(farm, 12)
    last = next(connection for connection, of in held if of == name)
    close([(connection, of) for connection, of in held if connection is not last])
    wait_until(lambda: entry(farm, server)["flows"] == 1, 20, "one connection is left")
    assert ask(last) == name
    assert waiting.poll() is None, "it waits for the last one"
    assert f"{server} drain then del" in farm.daemon.cli("show running-config")
    last.close()
    assert waiting.wait(20) == 0
    # By the API's account the server is gone for good, and so says who asks now.
    wait_until(lambda: entry(farm, server) is None, 10, "the server is forgotten")
    assert server not in [
        word for line in farm.daemon.cli("show running-config").splitlines()
        if line.startswith(AS.strip()) for word in line.split()
    ]
    assert wait(farm, server) == (0, f"{server} of {' '.join(KEY)} is gone\n")
    assert events(farm) == [("drain-then-del", server), ("drained", server), ("del", server)]


def test_what_wait_says_of_those_that_will_not_be_drained(topology, daemons):
    farm = quick(topology, daemons)
    status, text = wait(farm, "192.168.7.7")
    assert status == 1 and "192.168.7.7 is not an AS of the VIP" in text, text
    status, text = wait(farm, farm.addresses[0])
    assert status == 1 and "it takes new flows" in text, text
    done = farm.daemon.ctl("wait", "drained", "1.2.3.4/32", farm.addresses[0], check=False)
    assert done.returncode == 1 and "there is no VIP 1.2.3.4/32" in done.stderr, done.stderr
    done = subprocess.run(
        [SLUICECTL, "-s", farm.daemon.directory / "none.sock", "wait", "drained", *KEY, "1.2.3.4"],
        capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2, done.stderr
    script = AS + f"{farm.addresses[0]} drain\nwait drained {' '.join(KEY)} {farm.addresses[0]}\n"
    done = farm.daemon.ctl(stdin=script)
    assert done.stdout == f"{farm.addresses[0]} of {' '.join(KEY)} is drained\n"


def test_interrupted_in_a_session(topology, daemons):
    farm = quick(topology, daemons)
    held = connections(farm, 1)
    server = address(farm, held[0][1])
    farm.daemon.cli(AS + f"{server} drain")
    session = Terminal(farm.daemon)
    session.type(f"wait drained {' '.join(KEY)} {server}\r")
    session.expect("\n")
    # What is typed now meets the waiting command.
    wait_until(lambda: "draining" in farm.daemon.cli("show lb as"))
    time.sleep(0.5)
    session.type("\x03")
    session.expect("interrupted")
    session.expect("sluice# ")
    session.type("show version\r")
    session.expect("sluice# ")
    session.type("quit\r")
    assert session.close() == 0
    close(held)
