"""What root in a guest can do with its own network card to be taken for the service: it says "that address is mine" by ARP (or by
neighbour advertisement) to all, and by VRRP that nobody has a higher priority. Nothing else, and only on the card that it is given.

usage: python3 -m koboshi_lab.claim LINK OWN-ADDRESS SERVICE-ADDRESS...: prints "ready", begins at the first line that it reads, and
ends with its input or after half a minute.
"""
import fcntl
import ipaddress
import select
import socket
import struct
import sys
import time

EVERY_S = 0.01
LONGEST_S = 30
ROUTER, SECRET = 51, b"1111"  # as in lab/baselines: root in a guest can read them there
SIOCGIFHWADDR = 0x8927
VRRP, ICMPV6 = 112, 58
GROUP = "224.0.0.18"


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def summed(data: bytes, at: int, pseudo: bytes = b"") -> bytes:
    return data[:at] + struct.pack("!H", checksum(pseudo + data)) + data[at + 2:]


def mac_of(link: str) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return fcntl.ioctl(sock, SIOCGIFHWADDR, struct.pack("16s240x", link.encode()))[18:24]


def arp(mac: bytes, address: bytes) -> list[bytes]:
    """Gratuitous: as a question and as an answer, since some take the one and some the other."""
    return [b"\xff" * 6 + mac + struct.pack("!HHHBBH", 0x806, 1, 0x800, 6, 4, kind) + mac + address + target + address
            for kind, target in ((1, bytes(6)), (2, mac))]


def advertisement(mac: bytes, address: bytes) -> list[bytes]:
    everybody = socket.inet_pton(socket.AF_INET6, "ff02::1")
    body = struct.pack("!BBHI", 136, 0, 0, 1 << 29) + address + struct.pack("!BB", 2, 1) + mac
    pseudo = address + everybody + struct.pack("!II", len(body), ICMPV6)
    head = struct.pack("!IHBB", 6 << 28, len(body), ICMPV6, 255) + address + everybody
    return [b"\x33\x33\0\0\0\1" + mac + struct.pack("!H", 0x86dd) + head + summed(body, 2, pseudo)]


def vrrp_bodies(own: bytes, address: bytes) -> list[bytes]:
    """Of version 2 with its password and of version 3."""
    two = summed(struct.pack("!BBBBBBH", 0x21, ROUTER, 255, 1, 1, 1, 0) + address, 6) + SECRET.ljust(8, b"\0")
    three = struct.pack("!BBBBHH", 0x31, ROUTER, 255, 1, 1, 0) + address
    return [two, summed(three, 6, own + socket.inet_aton(GROUP) + struct.pack("!BBH", 0, VRRP, len(three)))]


def vrrp(mac: bytes, own: bytes, address: bytes) -> list[bytes]:
    frames = []
    for body in vrrp_bodies(own, address):
        head = summed(struct.pack("!BBHHHBBH", 0x45, 0xc0, 20 + len(body), 0, 0, 255, VRRP, 0) + own + socket.inet_aton(GROUP), 10)
        frames.append(b"\x01\0\x5e\0\0\x12" + mac + struct.pack("!H", 0x800) + head + body)
    return frames


def main() -> int:
    link, own = sys.argv[1], socket.inet_aton(sys.argv[2])
    mac, frames = mac_of(link), []
    for address in (ipaddress.ip_address(word) for word in sys.argv[3:]):
        if address.version == 4:
            frames += arp(mac, address.packed) + vrrp(mac, own, address.packed)
        else:
            frames += advertisement(mac, address.packed)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as card:
        card.bind((link, 0))
        print("ready", flush=True)
        if not sys.stdin.readline():
            return 0
        end = time.monotonic() + LONGEST_S
        while time.monotonic() < end:
            for frame in frames:
                try:
                    card.send(frame)
                except OSError:
                    return 0  # the card is gone, or down
            if select.select([sys.stdin], [], [], EVERY_S)[0]:
                return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
