"""What is watched while an arm has a fault: what its programs say in their logs, and who answers rightly at an address of its own.

A log is looked at every few milliseconds, so its times are late by that much at the most; no arm is slowed by it.
"""
import concurrent.futures
import http.client
import pathlib
import re
import threading
import time
from typing import Optional

from .cells import PAGE
from .shell import now_us

LOG_EVERY_S = 0.004
ASK_EVERY_S = 0.05
ASK_TIMEOUT_S = 0.2  # who needs longer is not counted as one who answers

MASTER = "Entering MASTER STATE"
# How a program says that something is wrong, and that it leads clients elsewhere.
HAPROXY_NOTICES, HAPROXY_MOVES = "Server guests/g[12] is (DOWN|going DOWN)", "Server guests/g1 (is DOWN|is going DOWN|enters drain|.*DRAIN)"
KEEPALIVED_NOTICES, LOOP_NOTICES = f"{MASTER}|FAULT STATE|Script `server` now returning [^0]|timed out", f"is closed|{MASTER}"
Words = dict[str, tuple[str, str]]  # by what they mean: names of logs, and what a line of one of them must hold


class Log:
    """The first time after the watch began that one of these files got a line that fits."""

    def __init__(self, files: list[pathlib.Path], words: str):
        self.words = re.compile(words.encode())
        self.read = {path: path.stat().st_size if path.exists() else 0 for path in files}
        self.seen_us: Optional[int] = None

    def look(self) -> None:
        if self.seen_us:
            return
        for path, size in self.read.items():
            now = path.stat().st_size if path.exists() else 0
            if now == size:
                continue
            at_us = now_us()
            with open(path, "rb") as file:
                file.seek(size)
                text = file.read(now - size)
            whole = text[:text.rfind(b"\n") + 1]
            self.read[path] = size + len(whole)
            if self.words.search(whole):
                self.seen_us = at_us


def logs(folder: pathlib.Path, words: Words) -> dict[str, Log]:
    return {name: Log([folder / f"{file}.log" for file in files.split()], line) for name, (files, line) in words.items()}


def answers(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=ASK_TIMEOUT_S)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        reply = connection.getresponse()
        return reply.status == 200 and reply.read(len(PAGE) + 1) == PAGE
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Watch:
    """Two threads until `end`: `reader` of the logs, to be started before the fault, and `asker`, afterwards. `addresses` are those of the
    arm's guests."""

    def __init__(self, addresses: list[str], logs: dict[str, Log]):
        self.addresses, self.logs = addresses, logs
        self.redundant_us: Optional[int] = None  # two answer
        self.whole_us: Optional[int] = None  # all answer
        self.over, self.two = threading.Event(), threading.Event()
        self.reader, self.asker = (threading.Thread(target=each, daemon=True) for each in (self.read, self.ask))

    def read(self) -> None:
        while not self.over.wait(LOG_EVERY_S):
            for log in self.logs.values():
                log.look()

    def ask(self) -> None:
        with concurrent.futures.ThreadPoolExecutor(len(self.addresses)) as pool:
            while not self.over.wait(ASK_EVERY_S):
                right = sum(pool.map(answers, self.addresses))
                if right >= 2 and not self.two.is_set():
                    self.redundant_us = now_us()
                    self.two.set()
                if right == len(self.addresses):
                    self.whole_us = self.whole_us or now_us()
                    return

    def end(self, redundant_until: float = 0) -> None:
        """Not before there are two, or that moment (time.monotonic)."""
        if self.asker.is_alive():
            self.two.wait(max(0.0, redundant_until - time.monotonic()))
        self.over.set()
        for thread in (self.reader, self.asker):
            if thread.ident:
                thread.join()
