"""The world around koboshi-engine, in memory: doubles of koboshid, koboshi-net and koboshi-vm that speak the real wire messages,
and guests that are small web servers on addresses of this network namespace's loopback.

What the world holds (guests, gates, what the service points at) outlives the engine, as it does on a device: an engine that is
killed and started anew finds it as it was.
"""
import array
import contextlib
import hashlib
import hmac
import http.client
import http.server
import ipaddress
import json
import os
import pathlib
import shutil
import signal
import socket
import socketserver
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import traceback

ORDER, ANSWER, NOTICE, LINK, PROGRESS, REPLACE = range(1, 7)
NET, VM, HOST, DECOY, SCAN, VAULT = 2, 3, 4, 5, 6, 7
READY, GONE, TROUBLE, USAGE, MEDDLED, IO_ERROR, WATCHDOG, TARPIT, GUEST_CHANNEL = 1, 6, 8, 9, 10, 13, 14, 15, 16
FILE_BAD, FILE_UNKNOWN, FILE_SKIPPED, FILE_TROUBLE, FILE_COUNTS, EVIDENCE_TAKEN, EVIDENCE_DROPPED, GUEST_SECRET = range(17, 25)
VAULT_STATE, SNAPSHOT, CHANGE, GUEST_CARRIED, RESCUE = range(25, 30)
GOOD, SUSPECT, FORGOTTEN = range(3)
WAS_CHANGED, WAS_ADDED, WAS_REMOVED, WAS_RETURNED = range(4)
(NET_OBSERVE, TAP_ADD, TAP_DEL, GATE, STEER, CUT, FLOWS, VM_OBSERVE, CREATE, SUSPEND, RESUME, VM_LINK, UNCAP, EVIDENCE,
 DESTROY, CHANNEL, CONTAIN, RESET, CAP, REVOKE, BACKUP, ROLLBACK, RESTORE, RETURN) = range(1, 25)
CONTAIN_SOURCE, CONTAIN_FLOW, CONTAIN_PORT, CONTAIN_LIMIT = range(4)
NO_GATE, QUARANTINE, OPEN, FENCED = range(4)
ABSENT, RUNNING, PAUSED = range(3)
PAGE = b"<h1>sensor</h1>\n"
RECORDED = {"flows": b"a flow\n", "console.log": b"it panicked\n", "memory": bytes(4096)}  # what is kept of every victim
TEXT_MAX, KEY_SIZE, SERVICES = 200, 32, 16
ENGINE_USER = 65534
WAIT_S = 30


def wait_for(what, condition, seconds=WAIT_S):
    """The condition's first true value. Only for what nobody tells: the engine's answers and what it writes. A callable `what`
    tells how things stand at the end."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.02)


# --- guests


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        guest = self.server.guest
        if not guest.agent.hello_said.wait(2):  # in a guest the agent starts before the service
            guest.agent.hello_said.set()
        guest.going.wait(20)
        status, body = guest.answers.get(self.path, (200, guest.page))
        if self.path.startswith("/api/challenge?nonce="):
            nonce = bytes.fromhex(self.path.split("=")[1])
            digest = hmac.new(guest.key, nonce + hashlib.sha256(guest.page).digest(), "sha256").hexdigest()
            body = json.dumps({"digest": digest, "clock": time.time() + Guest.ahead_s}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def finish_request(self, request, client_address):
        if not Guest.tls:
            super().finish_request(request, client_address)
            return
        with Guest.tls.wrap_socket(request, server_side=True) as inside:
            super().finish_request(inside, client_address)

    def handle_error(self, *_):
        pass


class Server6(Server):
    address_family = socket.AF_INET6


class Guest:
    ahead_s = 0  # of all clocks in the guests
    ipv6 = False  # their servers listen there only
    tls = None  # ssl.SSLContext: that is spoken

    def __init__(self, number, variant):
        self.number, self.variant, self.state, self.outdated, self.revoked = number, variant, RUNNING, 0, 0
        self.service = 0
        self.key, self.agent_key, self.page = os.urandom(KEY_SIZE), os.urandom(KEY_SIZE), PAGE
        self.alive, self.broken = True, False
        self.going = threading.Event()  # cleared: whoever asks waits
        self.going.set()
        self.answers = {"/api/reading": (200, b'{"value":21.0}'), "/robots.txt": (404, variant.to_bytes(4, "big"))}  # each server has its own pages
        self.server = None
        self.agent = Agent(self)
        self.serve()

    def serve(self):
        if self.server or self.broken:
            return
        server = Server6((f"2001:db8:1::{2 + self.number:x}", 80), Handler) if Guest.ipv6 else Server((f"192.0.2.{2 + self.number % 13}", 80), Handler)
        server.guest = self
        self.server = server
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def boot_anew(self):
        self.agent.ended, self.agent_key = True, os.urandom(KEY_SIZE)
        self.agent = Agent(self, self.agent.abilities)
        self.serve()

    def close_port(self):
        """As an attacker does it, for good: new connections are reset at once, and the agent is gone."""
        self.alive = False
        self.refuse()

    def refuse(self):
        """The server died: new connections are reset at once."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


# --- the agent in a guest

HELLO, KEYED, BEAT, TOLD, RESTART, STOP = range(1, 7)
DENIED, CHANGED, ACCOUNT, MODULE, LISTENING, _, RESTARTED, CARRIED, STOPPED = range(1, 10)
CAN_RESTART, CAN_STOP = 1 << 9, 1 << 10
SERVICE_ANSWERS = 1
FRAME, AGENT_LIST, OTHER_LIST, ABILITIES = 256, bytes(range(32)), bytes(31) + b"x", 0x1e9


class Agent:
    """koboshi-guest's other end: one connection at a time, as QEMU's socket. A thread beats until told otherwise."""

    def __init__(self, guest, abilities=ABILITIES):
        self.abilities, self.restart_status, self.restarts, self.stops, self.ended = abilities, 0, [], [], False
        self.guest, self.number, self.began = guest, 0, time.monotonic()
        self.key, self.beats, self.decided, self.service = None, True, 0, SERVICE_ANSWERS
        self.lock, self.connections, self.keys = threading.RLock(), [], 0
        self.hello_said, self.list, self.greeted = threading.Event(), AGENT_LIST, False
        threading.Thread(target=self.run, daemon=True).start()

    def connect(self):
        """The end that the engine gets; what is there already is gone."""
        with self.lock:
            ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            its.setblocking(False)
            ours.settimeout(0)
            self.connections.append(ours)
            if not self.greeted:
                self.greeted = True
                self.hello()
            return its

    def frame(self, kind, body, key=None, number=None, later_s=0):
        if number is None:
            self.number += 1
        uptime_us = int((time.monotonic() - self.began + later_s) * 1e6)
        bytes_ = struct.pack("<4sHHI4xq", b"kbgt", 1, kind, self.number if number is None else number, uptime_us) + body
        bytes_ = bytes_.ljust(FRAME - 16, b"\0")
        return bytes_ + (hmac.new(key, bytes_, "sha256").digest()[:16] if key else bytes(16))

    def send(self, bytes_):
        with self.lock:
            if self.connections:
                with contextlib.suppress(OSError):
                    self.connections[-1].sendall(bytes_)

    def drop(self):
        """QEMU's end closes."""
        with self.lock:
            self.connections.pop().close()

    def hello(self):
        self.number = 0
        self.send(bytes(FRAME) + self.frame(HELLO, self.list + struct.pack("<II", self.abilities, 77)))

    def beat(self, key=None):
        self.decided += 1
        self.send(self.frame(BEAT, struct.pack("<QQQII", self.decided, 2, 0, self.service, 0), key or self.key))

    def tell(self, what, text, detail=0):
        with self.lock:  # between two beats, or the numbers would be out of order
            self.send(self.frame(TOLD, struct.pack("<II", what, detail) + text.encode(), self.key))

    def take(self, bytes_):
        if len(bytes_) != FRAME:
            return
        kind, number = struct.unpack_from("<HI", bytes_, 6)
        if kind == KEYED:
            self.key, self.keys = bytes_[24:24 + KEY_SIZE], self.keys + 1
            return
        assert kind in (RESTART, STOP) and bytes_[-16:] == hmac.new(self.key, bytes_[:-16], "sha256").digest()[:16], "signed by nobody"
        (self.restarts if kind == RESTART else self.stops).append(number)
        if self.restart_status == 0 and kind == RESTART:
            self.guest.serve()
        elif self.restart_status == 0:
            self.guest.refuse()
        self.tell(RESTARTED if kind == RESTART else STOPPED, "program", self.restart_status)

    def run(self):
        while self.guest.alive and not self.ended:
            time.sleep(0.1)
            with self.lock:
                for connection in self.connections:
                    with contextlib.suppress(OSError):
                        self.take(connection.recv(4096))
                if self.key and self.beats and self.guest.state == RUNNING:
                    self.beat()
        while self.connections:
            self.drop()


# --- wire


def packet(kind, body):
    return struct.pack("=HHI", 1, kind, 8 + len(body)) + body


def text_field(text):
    return text.encode()[:TEXT_MAX - 1].ljust(TEXT_MAX, b"\0")


def notice(kind, instance=0, accelerator=0, text="", usage=(0, 0, 0, 0, 0), later_us=0, key=bytes(KEY_SIZE), sum_=b""):
    now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000 + later_us
    union = struct.pack(f"={len(usage)}Q", *usage) + sum_
    return packet(NOTICE, struct.pack("=qIIII48s", now_us, kind, instance, accelerator, 0, union) + key + text_field(text))


def order(order_id, type_, incident=0, number=0, before_us=0, service=0):
    return packet(ORDER, struct.pack("=QQqQQ8I80x", order_id, number, before_us, incident, 0, type_, service, 0, 0, 0, 0, 0, 0))


def taken(incident, instance, file, bytes_):
    """What koboshi-vm says of a file of evidence."""
    return notice(EVIDENCE_TAKEN, instance, text=file, usage=(incident, len(bytes_)), sum_=hashlib.sha256(bytes_).digest())


def answer(order_id, status=0, text="done", key=bytes(KEY_SIZE), target=(0,) * SERVICES, observed=()):
    body = struct.pack("=QiI", order_id, status, 10) + text_field(text) + key + struct.pack(f"={SERVICES}I", *target)
    body += struct.pack("=II", len(observed), 0) + b"".join(observed)
    return packet(ANSWER, body)


class Order:
    def __init__(self, body):
        (self.id, self.number, self.before_us, self.incident, self.closed_below, self.type, self.service, self.instance, self.victim, self.variant, self.gate,
         self.flag, _, self.contain, address, to, self.prefix, v6, self.kind, self.protocol, self.port, self.to_port, self.of_service,
         self.rate, self.per_s, _) = struct.unpack("=QQqQQ8IQ16s16s10I", body)
        self.source, self.to = (str(ipaddress.ip_address(a if v6 else a[:4])) for a in (address, to))

    def __repr__(self):
        return f"<{self.type} of {self.instance} victim {self.victim} gate {self.gate}>"


class World:
    """Guests, gates and the map, and everything that was ordered."""

    def __init__(self):
        self.changed = threading.Condition(threading.RLock())
        self.guests, self.gates, self.targets = {}, {}, [0] * SERVICES
        self.orders, self.numbers = [], []
        self.over = False
        self.slow = {}    # order type -> seconds that its answer takes
        self.held = {}    # order type -> instance: such an order is taken and never answered
        self.refused = {}  # order type -> (status, text): the next one is
        self.evidence = False  # files of it are told
        self.deaf = False  # no agent's port can be had
        self.restarts = False  # agents of new guests can restart the service
        self.flows_wanted, self.flows, self.told = False, None, []  # flows: our end of what conntrack tells
        self.flow_ids = 0
        self.other_list = False  # agents of new guests take another list than the manifest's
        self.carried = None  # what koboshi-vm says of files that live on when it makes a guest; None: nothing
        self.killer = None  # asked of each order: kills somebody and says "before" or "after" it is carried out, or nothing

    @property
    def target(self):
        """Whom the first service points at; most tests have no other."""
        return self.targets[0]

    @target.setter
    def target(self, number):
        self.targets[0] = number

    def carry_out(self, order):
        """The packet to answer with, or None."""
        with self.changed:
            if self.over:
                return None
            self.orders.append(order)
            self.changed.notify_all()
            if order.type in self.held:
                return None
            killed = self.killer and order.type not in (NET_OBSERVE, VM_OBSERVE) and self.killer(order)
            if killed:
                return None if killed == "before" else self.carried_out(order) and None
            return self.carried_out(order)

    def carried_out(self, order):
        with self.changed:
            if order.type in self.refused:
                return answer(order.id, *self.refused.pop(order.type))
            guest = self.guests.get(order.instance)
            if order.type == NET_OBSERVE:
                seen = [struct.pack("=7I32x", n, 0xffffffff, 0xffffffff, 0, gate, 0, 0) for n, gate in self.gates.items()]
                return answer(order.id, target=self.targets, observed=seen)
            if order.type == VM_OBSERVE:
                seen = [struct.pack("=7I", g.number, g.service, g.variant, g.state, 0, g.outdated, g.revoked) + g.key
                        for g in self.guests.values()]
                return answer(order.id, observed=seen)
            if order.type == TAP_ADD:
                self.gates.setdefault(order.instance, QUARANTINE)
            elif order.type == TAP_DEL:
                self.gates.pop(order.instance, None)
            elif order.type == GATE:
                self.gates[order.instance] = order.gate
            elif order.type == STEER:
                self.targets[order.service] = order.instance
                if order.victim:
                    self.gates[order.victim] = FENCED
            elif order.type == CREATE:
                assert order.instance not in self.numbers, "a number was given twice"
                self.numbers.append(order.instance)
                guest = self.guests[order.instance] = Guest(order.instance, order.variant)
                guest.service = order.service
                if self.restarts:
                    guest.agent.abilities |= CAN_RESTART | CAN_STOP
                if self.other_list:
                    guest.agent.list = OTHER_LIST
                return answer(order.id, key=guest.key)
            elif order.type in (SUSPEND, RESUME) and guest:
                guest.state = PAUSED if order.type == SUSPEND else RUNNING
            elif order.type == REVOKE:
                if guest:
                    guest.revoked = 1
                return answer(order.id, text=f"2 secrets of kb-{order.instance} are not valid any more")
            elif order.type == CHANNEL and (self.deaf or not guest):
                return answer(order.id, -111, "there is no port")
            elif order.type == RESET and guest:
                guest.boot_anew()
            elif order.type == DESTROY and guest:
                guest.close_port()
                del self.guests[order.instance]
            return answer(order.id)

    def await_order(self, kind, condition=lambda order: True, after=0):
        with self.changed:
            found = []
            assert self.changed.wait_for(
                lambda: [found.append(o) for o in self.orders[after:] if o.type == kind and condition(o)] or found,
                WAIT_S), f"no order {kind} in {self.orders[after:]}"
            return found[0]

    def count(self, *kinds):
        with self.changed:
            return sum(order.type in kinds for order in self.orders)

    def flow(self, instance, client, ended=False):
        """Conntrack tells of a flow that a client has begun with an instance, or ended."""
        def attribute(kind, value):
            return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
        self.flow_ids += not ended
        addresses = attribute(1, ipaddress.ip_address(client).packed) + attribute(2, ipaddress.ip_address("203.0.113.10").packed)
        ports = attribute(1, b"\x06") + attribute(2, struct.pack(">H", 40000 + self.flow_ids)) + attribute(3, struct.pack(">H", 80))
        parts = (attribute(1, attribute(1, addresses) + attribute(2, ports)) + attribute(8, struct.pack(">I", 0x4b000000 | instance)) +
                 attribute(12, struct.pack(">I", self.flow_ids)))
        body = bytes((socket.AF_INET, 0, 0, 0)) + parts
        self.flows.send(struct.pack("=IHHII", 16 + len(body), 0x102 if ended else 0x100, 0, 0, 0) + body)

    def close(self):
        """Whoever is still ordered about makes nothing any more: a server that nobody ends would have its address for all tests after it."""
        with self.changed:
            self.over = True
        for guest in list(self.guests.values()):
            guest.close_port()
        for end in self.told:
            end.close()


class Actuator(threading.Thread):
    """One link's other end; ends with the link."""

    def __init__(self, world, role, link):
        super().__init__(daemon=True)
        self.world, self.role, self.link = world, role, link
        ready = notice(READY, accelerator=1 if role == VM else 0)
        if role == NET and world.flows_wanted:
            self.tell_flows(ready)
        else:
            self.link.send(ready)
        self.start()

    def tell_flows(self, ready):
        """With the descriptors that koboshi-net opens: what the rules tell of packets, and conntrack of flows."""
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        for _, its in pairs:
            its.setblocking(False)
        self.link.sendmsg([ready], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [its.fileno() for _, its in pairs]))])
        for _, its in pairs:
            its.close()
        self.world.told = [ours for ours, _ in pairs]  # open as long as the world is
        self.world.flows = pairs[1][0]

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                bytes_ = self.link.recv(65536)
                if not bytes_:
                    return
                order = Order(bytes_[8:])
                order.role = self.role
                reply = self.carried_out(order)
                if order.type == EVIDENCE and self.world.evidence:
                    for kind, content in RECORDED.items():
                        self.link.send(taken(order.incident, order.instance, f"kb-{order.instance}.{kind}", content))
                if order.type == CREATE and self.world.carried is not None:
                    self.link.send(notice(GUEST_CARRIED, order.instance, text=self.world.carried))
                if order.type in self.world.slow:
                    time.sleep(self.world.slow[order.type])
                if order.type == CHANNEL and reply and not self.world.deaf and order.instance in self.world.guests:
                    guest = self.world.guests[order.instance]
                    its = guest.agent.connect()
                    self.link.sendmsg([notice(GUEST_CHANNEL, guest.number, key=guest.agent_key)],
                                      [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [its.fileno()]))])
                    its.close()
                    guest.agent.hello_said.set()  # not before the engine can have heard it
                if reply:
                    self.link.send(reply)

    def carried_out(self, order):
        """An error here is none of the link's: it would leave the engine waiting, and nobody would know for what."""
        try:
            return self.world.carry_out(order)
        except OSError:
            traceback.print_exc()
            raise

    def end(self):
        with contextlib.suppress(OSError):
            self.link.shutdown(socket.SHUT_RDWR)
        self.join()
        self.link.close()

    def gone(self, instance):
        self.link.send(notice(GONE, instance, text="ended by itself"))


# --- the engine


class Engine:
    """The real program below a double of koboshid."""

    def __init__(self, folder, world):
        self.folder, self.world, self.process = folder, world, None
        self.replaced, self.beats, self.actuators, self.environment = [], 0, {}, {}
        self.socket_path = str(folder / "run" / "koboshi.sock")
        self.log = folder / "log"
        self.api = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.api.bind(self.socket_path)
        self.api.listen(128)
        self.api.setblocking(False)

    def start(self):
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        its.setblocking(False)

        def become():
            os.dup2(its.fileno(), 200)
            os.dup2(self.api.fileno(), 201)
            os.dup2(200, 3)
            os.dup2(201, 4)
            os.closerange(5, 300)
            os.setgroups([])
            os.setgid(ENGINE_USER)
            os.setuid(ENGINE_USER)

        environment = {"PATH": "/usr/bin:/bin", "ASAN_OPTIONS": "detect_leaks=0", **self.environment}
        with open(self.log, "a", encoding="utf-8") as log:
            command = os.environ.get("ENGINE_UNDER", "").split()
            self.process = subprocess.Popen(command + [str(self.folder / "koboshi-engine"), "--config",
                                                       str(self.folder / "koboshi.yaml")], preexec_fn=become, close_fds=False,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=environment)
        its.close()
        self.supervisor = ours
        for role in (NET, VM, HOST):
            self.connect(role)
        threading.Thread(target=self.supervise, args=(ours,), daemon=True).start()

    def connect(self, role):
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        its.setblocking(False)
        self.supervisor.sendmsg([packet(LINK, struct.pack("=II", role, 0))],
                                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [its.fileno()]))])
        its.close()
        if role in self.actuators and self.actuators[role].is_alive():
            self.actuators[role].end()
        self.actuators[role] = Actuator(self.world, role, ours)

    def supervise(self, link):
        with contextlib.suppress(OSError):
            while True:
                bytes_ = link.recv(65536)
                if not bytes_:
                    return
                kind = struct.unpack_from("=HHI", bytes_)[1]
                with self.world.changed:
                    if kind == PROGRESS:
                        self.beats = struct.unpack_from("=Q", bytes_, 8)[0]
                    elif kind == REPLACE:
                        self.replaced.append(struct.unpack_from("=I", bytes_, 8)[0])
                    self.world.changed.notify_all()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        code = self.process.wait(WAIT_S)
        for actuator in self.actuators.values():
            actuator.end()
        self.supervisor.close()
        return code

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            return self.wait()
        return None

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("localhost", timeout=WAIT_S)
        connection.sock = self.dial()
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()

    def dial(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(WAIT_S)
        sock.connect(self.socket_path)
        return sock

    def status(self):
        return self.ask("GET", "/v1/status")[1]

    def await_state(self, state="ok"):
        return wait_for(lambda: f"state {state}, but {self.status()}", lambda: (status := self.status())["state"] == state and status)

    def memory_kib(self, name="Rss"):
        for line in pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        return 0

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- a part of its own below a double of koboshid and of the engine


def own_folder(case, prefix):
    """A folder of this test's own, in memory where that can be had."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    temporary = tempfile.TemporaryDirectory(prefix=prefix, dir=memory)
    case.addCleanup(temporary.cleanup)
    return pathlib.Path(temporary.name)


class Part:
    """A real program with its links: what it tells the engine can be heard."""

    def __init__(self, program, config_path):
        self.supervisor, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        its.set_inheritable(True)

        def become():
            os.dup2(its.fileno(), 200)
            os.dup2(200, 3)
            os.set_blocking(3, False)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as the supervisor does

        self.process = subprocess.Popen([program, "--config", str(config_path)], preexec_fn=become, pass_fds=(3,),
                                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env={"ASAN_OPTIONS": "detect_leaks=0"})
        its.close()
        self.engine = None
        self.connect()

    def connect(self):
        """A new engine."""
        if self.engine:
            self.engine.close()
        self.engine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.engine.settimeout(WAIT_S)
        self.supervisor.sendmsg([packet(LINK, struct.pack("=II", 1, 0))],
                                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [its.fileno()]))])
        its.close()

    def end(self):
        """As when koboshid ends; the exit status."""
        self.supervisor.close()
        log = self.process.communicate(timeout=WAIT_S)[1].decode()
        self.engine.close()
        for sign in ("Sanitizer", "runtime error", "Assertion"):
            assert sign not in log, log
        return self.process.returncode

    def hear(self, kind, about=""):
        """The first notice of this kind whose text has `about`: its instance and text."""
        heard = []
        while True:
            try:
                bytes_ = self.engine.recv(65536)
            except TimeoutError:
                raise AssertionError(f"no notice {kind} about '{about}'; heard {heard}") from None
            _, type_, instance = struct.unpack_from("=qII", bytes_, 8)
            text = bytes_[-TEXT_MAX:].split(b"\0")[0].decode()
            heard.append((type_, instance, text))
            if type_ == kind and about in text:
                return instance, text


# --- the folder that all of it lives in

VARIANTS = {
    "amber": ("linux 6.1.0", "glibc 2.36", "nginx 1.22", "php 8.2"),
    "birch": ("linux 6.12.0", "glibc 2.41", "lighttpd 1.4", "php 8.4"),
    "cedar": ("linux 7.3.0", "glibc 2.41", "apache 2.4", "lua 5.4"),
}


def manifest(variant, agent=True, list_=AGENT_LIST):
    parts = [dict(zip(("name", "version"), part.split())) for part in VARIANTS[variant]]
    more = {"agent": {"list": list_.hex()}} if agent else {}
    return {
        "format": 1, "variant": variant, **more, "summary": f"the {variant} one", "built": "2026-01-02T03:04:05Z", "suite": "trixie",
        "recipe_sha256": "0" * 64, "fallbacks": [],
        "components": [{"layer": layer, **part} for layer, part in zip(("kernel", "libc", "server", "runtime"), parts)],
        "packages": [{"name": f"package{i}", "version": f"{variant if i % 2 else 1}"} for i in range(100)],
        "files": [{"name": "vmlinuz", "size": 1, "sha256": "0" * 64}],
        "content": [{"path": "/", "type": "text/html", "sha256": hashlib.sha256(PAGE).hexdigest()}],
        "boot": {"cmdline": "console=ttyS0", "memory_mib": 192, "cpus": 1}, "service": {"ports": ["80/tcp"]},
    }


def tls_context(folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=sensor",
                    "-keyout", folder / "tls.key", "-out", folder / "tls.crt"], check=True, stderr=subprocess.DEVNULL)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


def config(folder, more=""):
    return f"""device: testbed
user: "{ENGINE_USER}"
paths: {{run: {folder}/run, state: {folder}/state, images: {folder}/images, image_key: {folder}/key.pub}}
guests: {{addresses: [192.0.2.0/28, "2001:db8:1::/112"]}}
timings: {{freeze: 5s, boot: 20s}}
brake: {{falls: 0}}
services:
  sensor:
    addresses: [203.0.113.10]
    ports: [80/tcp]
    variants: [amber, birch, cedar]
    drain: 200ms
    ladder: []
    probe: {{interval: 100ms, timeout: 400ms, peer: [/, /robots.txt, /api/reading], peer_every: 200ms, stall: 0s}}
{more}"""


def make_images(folder, image_tool, agent=True, list_=AGENT_LIST):
    for variant in VARIANTS:
        (folder / "images" / variant).mkdir(parents=True, exist_ok=True)
        (folder / "images" / variant / "manifest.json").write_text(json.dumps(manifest(variant, agent, list_)))
        subprocess.run([image_tool, "sign", "--key", folder / "key", folder / "images" / variant], check=True,
                       stdout=subprocess.DEVNULL)


def make_folder(folder, engine, image_tool):
    shutil.copy(engine, folder / "koboshi-engine")  # the build folder may be closed to the engine's user
    (folder / "run").mkdir()
    (folder / "state/ledger").mkdir(parents=True)
    os.chown(folder / "state/ledger", ENGINE_USER, ENGINE_USER)
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", folder / "key"], check=True)
    subprocess.run(["openssl", "pkey", "-in", folder / "key", "-pubout", "-out", folder / "key.pub"], check=True)
    make_images(folder, image_tool)
    (folder / "koboshi.yaml").write_text(config(folder))
    folder.chmod(0o755)
