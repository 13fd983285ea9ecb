#!/usr/bin/env python3
"""TLS in front of a server that speaks none, by OpenSSL: another hand than the one that is tested. Tells its port in a line, and
ends with its standard input.

usage: tls_relay.py PORT [tls1.2 | rsa | large | large-tls1.2 | abrupt | at-once | plain | mute | cut | alerts | foreign | group]
"""
import contextlib
import os
import pathlib
import selectors
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

LARGE = (1 << 255) + 95  # a public exponent, odd
KEYS = {"ec": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"), "rsa": ("-newkey", "rsa:2048"),
        "large": ("-newkey", "rsa:2048", "-pkeyopt", f"rsa_keygen_pubexp:{LARGE}")}
WARNING = bytes((21, 3, 3, 0, 2, 1, 90))  # user_canceled, which ends nothing


def context_of(manner):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    kind = "large" if manner.startswith("large") else "rsa" if manner in ("rsa", "foreign") else "ec"
    with tempfile.TemporaryDirectory(prefix="kbtls.") as folder:
        key, certificate = pathlib.Path(folder, "key"), pathlib.Path(folder, "certificate")
        subprocess.run(("openssl", "req", "-x509", "-nodes", *KEYS[kind], "-subj", "/CN=sensor", "-days", "2", "-keyout", key, "-out", certificate),
                       check=True, capture_output=True)
        context.load_cert_chain(certificate, key)
    if manner.endswith("tls1.2"):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if manner == "foreign":  # the client would have to use the certificate's key before it hears what it is
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-SHA:@SECLEVEL=0")
    return context


def pass_on(inside, outside):
    """Until one of the two ends."""
    waiting = selectors.DefaultSelector()
    for one, other in ((inside, outside), (outside, inside)):
        waiting.register(one, selectors.EVENT_READ, other)
    while True:
        ready = [key for key, _ in waiting.select()]
        for key in ready:
            while True:
                said = key.fileobj.recv(65536)
                if not said:
                    return
                key.data.sendall(said)
                if key.fileobj is not inside or not inside.pending():
                    break


def answer_at_once(outside, port, context):
    """What TLS itself has to say after hands were shaken, its tickets, comes in one piece with the answer."""
    heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    inside = context.wrap_bio(heard, said, server_side=True)

    def patiently(call, tell):
        while True:
            try:
                return call()
            except ssl.SSLWantReadError:
                if tell:
                    outside.sendall(said.read())
                heard.write(outside.recv(65536))

    patiently(inside.do_handshake, True)
    with socket.create_connection(("127.0.0.1", port)) as server:
        server.sendall(patiently(lambda: inside.read(65536), False))
        inside.write(server.recv(65536))
    outside.sendall(said.read())
    outside.recv(65536)


def serve(outside, port, context, manner):
    with outside, contextlib.suppress(OSError):
        if manner == "plain":
            outside.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif manner == "alerts":
            outside.sendall(1000 * WARNING)
        if manner in ("plain", "alerts", "mute", "cut"):
            outside.recv(65536)  # the hello, or the end
            if manner in ("alerts", "mute"):
                outside.recv(65536)
            return
        if manner == "at-once":
            answer_at_once(outside, port, context)
            return
        with context.wrap_socket(outside, server_side=True) as inside, socket.create_connection(("127.0.0.1", port)) as server:
            pass_on(inside, server)
            if manner != "abrupt":
                inside.settimeout(0.2)  # for the other's farewell
                inside.unwrap()


def main():
    port, manner = int(sys.argv[1]), (sys.argv[2:] or ["ec"])[0]
    context = context_of(manner)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0], port, context, manner), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


def with_large_group():
    """Which groups there are is the library's configuration, read when it is loaded."""
    with tempfile.NamedTemporaryFile("w", prefix="kbtls.", suffix=".cnf") as conf:
        conf.write("openssl_conf = c\n[c]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nGroups = ffdhe8192\n[req]\ndistinguished_name = n\n[n]\n")
        conf.flush()
        subprocess.run((sys.executable, *sys.argv), env={**os.environ, "OPENSSL_CONF": conf.name}, check=False)


if __name__ == "__main__":
    if sys.argv[2:] == ["group"] and "OPENSSL_CONF" not in os.environ:
        with_large_group()
    else:
        main()
