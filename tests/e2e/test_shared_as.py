"""Two VIPs that share a server and target port both translate back correctly (B-21)."""

from concurrent.futures import ThreadPoolExecutor

from topology import run


def test_replies_go_back_to_the_vip_that_was_asked(farm):
    for _ in range(20):
        for vip in farm.VIPS:
            # curl would not accept an answer from the other address or port.
            assert farm.client.curl(f"http://{vip}:2020/").split()[1] == "10.10.10.1"


def test_both_vips_at_once_and_the_servers_directly(farm):
    targets = [f"http://{vip}:2020/" for vip in farm.VIPS]
    targets += [f"http://{address}:8080/" for address in farm.addresses]

    def fetch(i):
        url = targets[i % len(targets)]
        body = run("ip", "netns", "exec", farm.client.name, "curl", "-sS", "-m", "5", url).stdout
        return url, body

    with ThreadPoolExecutor(8) as pool:
        for url, body in pool.map(fetch, range(100)):
            server, address, _ = body.split()
            assert address == "10.10.10.1"
            if url.endswith(":8080/"):
                number = farm.addresses.index(url[7:-6]) + 1
                assert server == f"server{number}", (url, body)


def test_one_client_port_to_both_vips_at_once(farm):
    """One client address and port, two connections: no server may hold both, it could not tell."""
    for port in range(56000, 56030):
        first = farm.client.tcp("20.20.20.1", 2020, source_port=port)
        second = farm.client.tcp("10.10.10.254", 2020, source_port=port)
        names = []
        for connection in (second, first):
            connection.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            answer = b""
            while part := connection.recv(4096):
                answer += part
            names.append(answer.split(b"\r\n\r\n")[1].split()[0])
            connection.close()
        assert names[0] != names[1], f"port {port}: both on {names[0]}"


def test_deleting_one_vip_leaves_the_other(farm):
    farm.daemon.cli("lb vip 20.20.20.1/32 protocol tcp port 2020 del")
    for _ in range(12):
        assert farm.client.curl("http://10.10.10.254:2020/").split()[1] == "10.10.10.1"
    assert farm.client.curl("http://20.20.20.1:2020/", check=False, max_time_s=1) is None
