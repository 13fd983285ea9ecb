"""The sensor service in Python: the page, the latest reading, and an answer that only a living application can give.

It speaks SCGI on a Unix socket to the web server in front of it.  SCGI needs no more than splitting a string, so nothing
of the standard library's servers is loaded: under software emulation each import is paid for in tenths of a second.
The PHP sister (parts/php-fpm) must behave the same and shares no code, so that one mistake is not two.
"""

import fcntl
import hashlib
import hmac
import json
import math
import os
import re
import socket
import sys
import time

PAGE = "/srv/sensor/page.html"
STORE = "/var/lib/sensor/readings.json"
KEY = "/etc/koboshi/challenge.key"
SOCKET = "/run/koboshi/sensor.sock"
BODY_MAX = 4096
TAKEN_MAX = 65536
HEAD_MAX = 32768
WORKERS = 2
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 413: "Content Too Large",
           500: "Internal Server Error", 503: "Service Unavailable"}
NONCE = re.compile(r"(?:^|&)nonce=([0-9a-fA-F]{32,128})(?:&|$)", re.ASCII)


class Refusal(Exception):
    """Ends a request with a status and one sentence."""

    def __init__(self, status, sentence):
        super().__init__(sentence)
        self.status = status


def read_file(path):
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return None


def json_answer(status, what):
    return status, "application/json", json.dumps(what, separators=(",", ":")).encode() + b"\n"


def readings(value=None):
    """What is stored, with value added to it first.  The lock is on a file of its own because the store is replaced."""
    try:
        with open(STORE + ".lock", "ab", buffering=0) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH if value is None else fcntl.LOCK_EX)
            stored = json.loads(read_file(STORE) or b'{"value":null,"unit":"celsius","stored":0,"last":null}')
            if value is not None:
                stored = {"value": value, "unit": "celsius", "stored": stored["stored"] + 1, "last": round(time.time(), 3)}
                with open(STORE + ".new", "w", encoding="ascii") as file:
                    json.dump(stored, file)
                os.rename(STORE + ".new", STORE)
            return stored
    except OSError:
        raise Refusal(503, "The store of readings cannot be used.") from None


def reading_of(body):
    try:
        value = json.loads(body)["value"]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError
        value = float(value)
        if not math.isfinite(value):
            raise ValueError
        return value
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError):
        raise Refusal(400, "A reading is a JSON object with a finite number named value.") from None


def challenge(query, page):
    found = NONCE.search(query)
    if not found or len(found[1]) % 2:
        raise Refusal(400, "A challenge needs a nonce of 16 to 64 bytes in hexadecimal digits.")
    try:
        key = bytes.fromhex((read_file(KEY) or b"").decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise Refusal(503, "This instance was given no challenge key.")
    message = bytes.fromhex(found[1]) + hashlib.sha256(page).digest()
    return {"digest": hmac.digest(key, message, "sha256").hex(), "clock": round(time.time(), 3)}


def respond(method, path, query, body):
    known = {"/": ("GET", "HEAD"), "/api/reading": ("GET", "HEAD", "POST"), "/api/challenge": ("GET", "HEAD")}
    if path not in known:
        raise Refusal(404, "There is nothing at this path.")
    if method not in known[path]:
        raise Refusal(405, "This path does not take that method.")
    if path == "/api/reading":
        return json_answer(200, readings(reading_of(body()) if method == "POST" else None))
    page = read_file(PAGE)
    if page is None:
        raise Refusal(500, "The page is gone.")
    if path == "/api/challenge":
        return json_answer(200, challenge(query, page))
    return 200, "text/html; charset=utf-8", page


def receive_head(file):
    """The request's variables: a count of bytes, a colon, name and value in turn each ended by NUL, a comma."""
    digits = b""
    while (c := file.read(1)) != b":":
        digits += c
        if not c.isdigit() or len(digits) > 5:
            raise ValueError("no length")
    length = int(digits)
    if length > HEAD_MAX:
        raise ValueError("head too long")
    words = file.read(length + 1)[:-1].decode("latin-1").split("\0")
    return dict(zip(words[::2], words[1::2]))


def serve(connection):
    connection.settimeout(10)
    with connection, connection.makefile("rb") as file:
        head = receive_head(file)
        length = int(head.get("CONTENT_LENGTH") or 0)
        method = head.get("REQUEST_METHOD", "")
        path, _, query = head.get("REQUEST_URI", "/").partition("?")

        # Taken in even if nobody will look at it: the web server calls an application that hangs up early a dead one.
        content = file.read(max(0, min(length, TAKEN_MAX)))

        def body():
            if length != len(content) or length > BODY_MAX:
                raise Refusal(413, "A reading has at most 4096 bytes.")
            return content

        try:
            status, kind, answered = respond(method, path, query, body)
        except Refusal as refusal:
            status, kind, answered = json_answer(refusal.status, {"error": str(refusal)})
        answer = (f"Status: {status} {REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(answered)}\r\n"
                  "Cache-Control: no-store\r\n\r\n").encode()
        connection.sendall(answer if method == "HEAD" else answer + answered)


def work(listener):
    while True:
        connection, _ = listener.accept()
        try:
            serve(connection)
        except (OSError, ValueError) as error:  # a broken request costs its connection, not the worker
            print("sensor:", error, file=sys.stderr, flush=True)


def main():
    try:
        os.unlink(SOCKET)
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(SOCKET)
    os.chown(SOCKET, 33, 33)
    listener.listen(64)
    os.setgroups([])
    os.setgid(33)
    os.setuid(33)
    running = 0
    while True:
        while running < WORKERS:
            if os.fork() == 0:
                work(listener)
            running += 1
        os.wait()
        running -= 1
        time.sleep(0.2)


main()
