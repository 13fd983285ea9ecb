"""The lab's networks: the namespace that we are in is the device (its host side), `client` is where its clients sit.

    client netns                         this netns (the device)                     guests
    198.51.100.10, 2001:db8:20::10  ---  198.51.100.1, 2001:db8:20::1   tap --- 192.0.2.0/26, 2001:db8:1::/64
    routes the service's network to the device; nothing has a way out of the machine
"""
import pathlib

from . import layout
from .shell import run


def sysctl(name: str, value: int, netns: str = "") -> None:
    line = f"echo {value} > /proc/sys/net/{name}"
    run(*(["ip", "netns", "exec", netns] if netns else []), "sh", "-c", line)


def client_build(netns: str) -> None:
    run("ip", "netns", "add", netns)
    run("ip", "link", "add", "clients", "type", "veth", "peer", "name", "eth0", "netns", netns)
    run("ip", "-batch", "-", text_in=f"""\
addr add {layout.HOST4}/24 dev clients
addr add {layout.HOST6}/64 dev clients nodad
link set clients up
""")
    run("ip", "-n", netns, "-batch", "-", text_in=f"""\
link set lo up
addr add {layout.CLIENT4}/24 dev eth0
addr add {layout.CLIENT6}/64 dev eth0 nodad
link set eth0 up
route add {layout.SERVICE_NET4} via {layout.HOST4}
route add {layout.SERVICE_NET6} via {layout.HOST6}
""")
    # Thousands of short connections to one address: their ports must be free again before a minute is over.
    sysctl("ipv4/tcp_tw_reuse", 1, netns)


def build() -> None:
    run("ip", "link", "set", "lo", "up")
    sysctl("ipv4/ip_forward", 1)
    sysctl("ipv6/conf/all/forwarding", 1)
    client_build(layout.CLIENT_NETNS)


def client_exec(*argv: object) -> list[str]:
    """Command line that runs `argv` where the clients are."""
    return ["nsenter", f"--net=/run/netns/{layout.CLIENT_NETNS}", "--", *(str(word) for word in argv)]


def snapshot() -> dict[str, list[str]]:
    """Links, routes and firewall tables of the namespace that we are in, to compare with later."""
    links = sorted(line.split(":")[1].split("@")[0].strip() for line in run("ip", "-o", "link").splitlines())
    try:
        tables = sorted(run("nft", "list", "tables").splitlines())
    except Exception:  # no nft, or not allowed to look: then nothing of ours can be there either
        tables = []
    return {"links": links, "tables": tables, "mounts": mounts()}


def neighbours() -> list[str]:
    """Addresses that somebody has."""
    return [line.split()[0] for line in run("ip", "neigh").splitlines() if line]


def mounts() -> list[str]:
    text = pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    return sorted(line.split()[4] for line in text.splitlines())
