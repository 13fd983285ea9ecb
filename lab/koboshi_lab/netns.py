"""What is done in a cell's network namespace without starting a program: a fault is to be the fault, and not the start of what makes it."""
import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from typing import Iterator

from .shell import LabError

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
LIBC = ctypes.CDLL(None, use_errno=True)
NFTABLES = ctypes.CDLL("libnftables.so.1", use_errno=True)
NFTABLES.nft_ctx_new.restype = ctypes.c_void_p
NFTABLES.nft_ctx_get_error_buffer.restype = ctypes.c_char_p


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Only for the calling thread. A socket that was opened there stays there."""
    with open("/proc/thread-self/ns/net", "rb") as own, open(f"/run/netns/{name}", "rb") as other:
        enter(other.fileno())
        try:
            yield
        finally:
            enter(own.fileno())


def enter(fd: int) -> None:
    if LIBC.setns(fd, CLONE_NEWNET) != 0:
        raise LabError(f"cannot enter a network namespace: {os.strerror(ctypes.get_errno())}")


class Rules:
    """nftables of a namespace; loaded once, so that an order takes as long as the kernel needs for it."""

    def __init__(self, name: str):
        with inside(name):
            self.context = ctypes.c_void_p(NFTABLES.nft_ctx_new(0))
        if not self.context or NFTABLES.nft_ctx_buffer_error(self.context) != 0:
            raise LabError("cannot start libnftables")

    def order(self, text: str) -> None:
        if NFTABLES.nft_run_cmd_from_buffer(self.context, text.encode()) != 0:
            raise LabError(f"nftables refused {text}: {NFTABLES.nft_ctx_get_error_buffer(self.context).decode()}")

    def end(self) -> None:
        NFTABLES.nft_ctx_free(self.context)


class Links:
    """Links of a namespace, "" for our own."""

    def __init__(self, name: str):
        with inside(name) if name else contextlib.nullcontext():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def down(self, link: str) -> None:
        form = "16sh14x"
        _, flags = struct.unpack(form, fcntl.ioctl(self.socket, SIOCGIFFLAGS, struct.pack(form, link.encode(), 0)))
        fcntl.ioctl(self.socket, SIOCSIFFLAGS, struct.pack(form, link.encode(), flags & ~IFF_UP))

    def end(self) -> None:
        self.socket.close()
