#!/usr/bin/env python3
"""A koboshid that only talks: answers the API's requests on a Unix socket with what the files beside it say.

usage: api.py SOCKET [MODE]
MODE is how badly it behaves: ok, huge, cut, garbage, duplicate, chunked, error, hostile, silent. It ends when its
standard input is closed, so a test that is killed leaves nothing behind.
"""
import http.server
import json
import os
import socketserver
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
MODE = sys.argv[2] if len(sys.argv) > 2 else "ok"


def answer_of(path):
    name = path.removeprefix("/v1/").replace("/", "-")
    with open(os.path.join(HERE, "api", name + ".json"), encoding="utf-8") as file:
        return file.read()


SUBJECTS = {"limit 198.51.100.0/24 20/s": 9, "flow tcp 198.51.100.7:40312 203.0.113.10:80": 10, "port sensor 80/tcp": 11, "port 53/udp": 12}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def address_string(self):
        return "unix"

    def reply(self, status, body):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if MODE == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(data), 100):
                piece = data[at:at + 100]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("Content-Length", str(len(data) + (10 if MODE == "cut" else 0)))
            self.end_headers()
            self.wfile.write(data)
        self.close_connection = True

    def misbehave(self):
        if MODE == "garbage":
            self.wfile.write(b"SSH-2.0-whatever\r\n\r\n")
        elif MODE == "huge":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n{\"a\":\"")
            try:
                for _ in range(64):
                    self.wfile.write(b"x" * (1 << 20))
            except OSError:
                pass
        elif MODE == "duplicate":
            self.reply(200, '{"state":"ok","state":"degraded"}')
        elif MODE == "error":
            self.reply(503, '{"error":"the ledger cannot be written: disk full"}')
        elif MODE == "hostile":
            self.reply(200, answer_of("/v1/status").replace("refused 3 connections", "\\u001b[2J\\u0007\\u009bgone"))
        else:
            return False
        self.close_connection = True
        return True

    def do_GET(self):
        if self.misbehave():
            return
        try:
            self.reply(200, answer_of(self.path))
        except OSError:
            self.reply(404, json.dumps({"error": "there is no incident " + self.path.rsplit("/", 1)[-1]}))

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/switch" and asked == {"service": "sensor"}:
            self.reply(202, '{"incident":4}')
        elif self.path == "/v1/contain" and asked.get("source") == "203.0.113.9":
            self.reply(202, '{"containment":7}' if asked == {"source": "203.0.113.9", "reason": "it guesses passwords", "for_s": 600}
                       else '{"containment":8}')
        elif self.path == "/v1/contain" and asked.get("subject") in SUBJECTS and asked.get("reason") == "too eager":
            self.reply(202, json.dumps({"containment": SUBJECTS[asked["subject"]] if asked.get("for_s") in (None, 600) else 8}))
        elif self.path == "/v1/contain":
            self.reply(400, json.dumps({"error": "'%s' is not understood" % asked.get("subject")}))
        elif self.path == "/v1/hold" and asked.get("instance") == "kb-4":
            self.reply(202, '{"containment":13}' if asked == {"instance": "kb-4", "how": "lock", "reason": "odd", "for_s": 90} else '{"containment":8}')
        elif self.path == "/v1/hold":
            self.reply(404, '{"error":"there is no instance kb-99"}')
        elif self.path in ("/v1/backup", "/v1/restore", "/v1/return"):
            numbers = {"{}": 3, '{"service": "sensor"}': 3, '{"snapshot": 7}': 4, '{"change": 9, "service": "sensor"}': 3}
            self.reply(202, json.dumps({"service": "sensor" if json.dumps(asked) != '{"snapshot": 7}' else "other",
                                        "asked": numbers[json.dumps(asked)]}))
        elif self.path == "/v1/lessons" and asked.get("incident") in (12, 4):
            self.reply(202 if asked["incident"] == 12 else 200,
                       json.dumps({"origin": asked["origin"], "incident": asked["incident"], "taken": asked["incident"] == 12}))
        elif self.path == "/v1/lessons":
            self.reply(409, json.dumps({"error": "lesson %s of testbed: it expired at 2026-01-02T03:04:05Z" % asked.get("incident")}))
        elif self.path == "/v1/release":
            self.reply(202, '{"containment":6}')
        else:
            self.reply(409, json.dumps({"error": "there is no service '%s'" % asked.get("service")}))


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


with Server(sys.argv[1], Handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
os.unlink(sys.argv[1])
