"""The faults that the lab can stage, each against the active instance unless told otherwise.

Most are one shell line, run as root in the guest: what an attacker who has got that far could do. All of them work on the
lab's own guests only, none spreads, and none outlives the guest.
"""
import dataclasses
import socket
import struct
import sys
from typing import Callable, Optional

from . import api, claim, guest, layout
from .shell import LabError, guarded, now_us



def signalled(name: str, signal: str, before: str = "") -> str:
    """A line that sends a signal to a program's whole group, without starting any: under emulation each start takes tens of
    milliseconds, which are not the fault's."""
    return f"read -r group < /run/koboshi/{name}.pid; {before}kill -{signal} -$group"


def stopped(name: str) -> str:
    """What `koboshi-service stop` does."""
    return signalled(name, "KILL", f": > /run/koboshi/{name}.off; ")


@dataclasses.dataclass(frozen=True)
class Fault:
    name: str
    text: str  # what a person is told
    line: str = ""  # run in the guest
    prepare: str = ""  # run in the guest before, so that its time is not the fault's; no harm yet
    act: Optional[Callable[[int], int]] = None  # or done from outside, with the instance's number; returns when

    def strike(self, number: int) -> int:
        """Does it; the moment (CLOCK_MONOTONIC, us) it began."""
        if self.prepare:
            status, said = guest.ask(number, self.prepare)
            if status != 0:
                raise LabError(f"'{self.name}' cannot be prepared in guest {number}: {said.strip()}")
        return self.act(number) if self.act else guest.strike(number, self.line)


# --- against the agent in the guest. What is run is busybox's `true`, whatever way it comes.

DROP = "/tmp/koboshi-drop"
DROPPED = f"mkdir -p {DROP} && cp /bin/busybox {DROP}/true && echo >> {DROP}/true && "  # other bytes than the image's

AGENT_PORT = ("for port in /sys/class/virtio-ports/*; do read -r name < $port/name; "
              "[ $name = org.koboshi.agent.0 ] && break; done; port=/dev/${port##*/}; ")
KILL_AGENT = ("for agent in /proc/[0-9]*; do read -r name < $agent/comm && [ \"$name\" = koboshi-guest ] && "
              "kill -KILL ${agent##*/}; done 2> /dev/null; ")
# a beat as the agent sends it, but for the key; its number and time are high enough
FORGED = "kbgt" + "".join(f"\\{byte:03o}" for byte in struct.pack("<HHI4xq3QII", 1, 3, 1 << 20, 1 << 30, 1 << 20, 0, 0, 1, 0)
                          .ljust(236, b"\0") + b"\1" * 16)

# Runs in place of a sleeping busybox: open("/bin/busybox"), memfd_create("true"), sendfile(), execveat(memfd, "", {"true"}, NULL,
# AT_EMPTY_PATH), exit(NOT_STARTED): `true` would have ended with 0.
NOT_STARTED = 7
IN_MEMORY = bytes.fromhex(
    "31f6488d3d67000000b8020000000f054189c431f6488d3d61000000b83f0100000f054189c54489ef4489e631d241ba00001000b8280000000f05"
    "85c07fe74531d24152488d0532000000504889e24489ef488d352800000041b800100000b8420100000f05" f"6a{NOT_STARTED:02x}5fb83c0000000f05"
    "2f62696e2f62757379626f78007472756500")
# All of its code becomes "nothing, nothing, ..., that": wherever it wakes up, it gets there. No program starts for it.
INJECT = (f"mkdir -p {DROP}; sleep 20 > /dev/null 2>&1 & echo $! > {DROP}/pid; read -r pid < {DROP}/pid; "
          "n=0; until grep -q '^State:.S' /proc/$pid/status || [ $((n += 1)) -gt 1000 ]; do :; done; "
          "while read -r range rights rest; do [ $rights = r-xp ] && break; done < /proc/$pid/maps; "
          "begin=$((0x${range%-*} / 4096)); pages=$((0x${range#*-} / 4096 - begin)); "
          "{ dd if=/dev/zero bs=4096 count=$((pages - 1)) | tr '\\000' '\\220'; "
          "printf '" + "".join(f"\\{byte:03o}" for byte in IN_MEMORY) + "'; } 2> /dev/null | "
          "dd of=/proc/$pid/mem bs=4096 seek=$begin conv=notrunc 2> /dev/null || "
          f"{{ kill -KILL $pid; exit {NOT_STARTED}; }}")  # newer kernels keep a process's code from being written


def claimed_by_vrrp() -> str:
    """Versions 2 and 3, ten times a second for half a minute. Guests have no program that speaks VRRP: their own firewall makes it of pings
    of that length, sent by whatever address."""
    source, rules, pings = "192.0.2.200", "", ""
    for body in claim.vrrp_bodies(socket.inet_aton(source), socket.inet_aton(layout.SERVICE4)):
        words = " ".join(f"@th,{at * 8},32 set 0x{body[at:at + 4].hex()}" for at in range(0, len(body), 4))
        rules += (f"ip daddr {claim.GROUP} icmp type echo-request ip length {20 + len(body)} {words} ip saddr set {source} ip ttl set 255 "
                  f"ip protocol set {claim.VRRP}; ")
        pings += f"busybox ping -i 0.1 -w 30 -s {len(body) - 8} {claim.GROUP} > /dev/null 2>&1 & "
    return f"nft 'table ip claim {{ chain out {{ type filter hook postrouting priority 0; {rules}}}; }}'; {pings}"


def kill_all(_number: int) -> int:
    at = now_us()
    api.kill_koboshi()
    return at


def switch(_number: int) -> int:
    at = now_us()
    api.call("POST", "/v1/switch", {"service": layout.SERVICE})
    return at


PLANNED = Fault("switch", "a planned switch is asked for, as 'koboshi switch' does", act=switch)

FAULTS = {fault.name: fault for fault in (
    Fault("close-port", "root inside ends the web server for good: its port refuses",
          stopped("server")),
    Fault("hang", "root inside stops the server with SIGSTOP: connections open, no answer comes",
          signalled("server", "STOP")),
    Fault("tamper", "root inside changes the page that the server shows",
          "echo '<h1>owned</h1>' > /srv/sensor/page.html || "
          "{ echo '<h1>owned</h1>' > /tmp/owned.html && mount --bind /tmp/owned.html /srv/sensor/page.html; }"),
    Fault("panic", "root inside makes the kernel panic",
          "echo c > /proc/sysrq-trigger"),
    Fault("drop", "root inside makes its firewall drop everything silently",
          "nft 'table inet fault { chain in { type filter hook input priority 0; policy drop; }; }'"),
    Fault("kill-app", "root inside ends the language runtime: a dead application behind an open port",
          stopped("runtime")),
    Fault("slow", "root inside lets the server run a fifth of the time only",
          f"while :; do {signalled('server', 'STOP')}; sleep 0.8; {signalled('server', 'CONT')}; sleep 0.2; done &"),
    Fault("claim", "root inside takes the service address for itself and announces it by ARP and by VRRP",
          f"{claimed_by_vrrp()} ip addr add {layout.SERVICE4}/32 dev eth0; for n in 1 2 3; do busybox arping -U -c 1 -I eth0 {layout.SERVICE4}; "
          f"busybox arping -A -c 1 -I eth0 {layout.SERVICE4}; done"),
    Fault("scan", "root inside looks around: it tries a port of every address in the guests' network, the server goes on",
          f"n=1; while [ $n -le 60 ]; do busybox nc -w 1 {layout.GUESTS4.rsplit('.', 1)[0]}.$n 23 < /dev/null > /dev/null 2>&1 & "
          "n=$((n + 1)); done"),
    Fault("touch-decoy", "root inside asks one port of one address that nobody has, the server goes on",
          f"busybox nc -w 60 {layout.NOBODY4} 22 < /dev/null > /dev/null 2>&1 &"),
    Fault("mine", "root inside computes for itself: a processor is busy, the server goes on",
          "while :; do :; done &"),
    Fault("flood", "root inside sends all that it can to an address that its profile allows, the server goes on",
          f"for n in 1 2 3 4; do busybox ping -i 0.001 -s 1400 {layout.CLIENT4} > /dev/null 2>&1 & done"),
    Fault("stray", "root inside tries to send mail: a single connection, which its profile does not name",
          f"busybox nc -w 1 {layout.CLIENT4} 25 < /dev/null > /dev/null 2>&1 &"),
    Fault("call-out", "root inside opens a hundred connections to the one place that its profile names, the server goes on",
          f"n=0; while [ $((n += 1)) -le 100 ]; do busybox nc -w 1 {layout.CLIENT4} {layout.COLLECTOR_PORT} < /dev/null > /dev/null 2>&1; done &"),
    Fault("write", "root inside reads its whole disk over and over, for fifteen seconds; the server goes on (its disk cannot be written to)",
          "end=$(($(date +%s) + 15)); while [ $(date +%s) -lt $end ]; do echo 3 > /proc/sys/vm/drop_caches; "
          "dd if=/dev/vda of=/dev/null bs=1M 2> /dev/null; done &"),
    Fault("watchdog", "root inside opens the watchdog device and lets it starve, the server goes on",
          "rmmod i6300esb 2> /dev/null; modprobe i6300esb heartbeat=2 && : > /dev/watchdog"),
    Fault("change-api", "root inside changes what the application knows: its answer is another, the page is the same",
          "echo '{\"value\":99.5,\"unit\":\"celsius\",\"stored\":1,\"last\":1}' > /var/lib/sensor/readings.json"),
    Fault("drop-program", "root inside drops a program that is not the image's and starts it, the server goes on",
          f"{DROP}/true", DROPPED + "true"),
    Fault("drop-script", "root inside drops a script and starts it, the server goes on",
          f"{DROP}/script", f"mkdir -p {DROP} && printf '#!/bin/sh\\n:\\n' > {DROP}/script && chmod 755 {DROP}/script"),
    Fault("sh-script", "root inside gives a dropped script to the image's own shell, the server goes on",
          f"sh {DROP}/script", f"mkdir -p {DROP} && printf ':\\n' > {DROP}/script"),
    Fault("run-deleted", "root inside starts a program that is deleted already, the server goes on",
          f"exec 4< {DROP}/true; rm {DROP}/true; /proc/self/fd/4", DROPPED + "true"),
    Fault("run-memfd", "root inside makes a sleeping process start a program out of memory, the server goes on",
          f"{INJECT}; kill -STOP $pid; kill -CONT $pid; wait $pid; [ $? -ne {NOT_STARTED} ]"),
    Fault("run-loader", "root inside starts one of the image's programs by the dynamic loader, the server goes on",
          "/lib64/ld-linux-x86-64.so.2 $(command -v nft) --version"),
    Fault("kill-agent", "root inside ends the guest's agent, the server goes on", KILL_AGENT),
    Fault("lie-agent", "root inside ends the guest's agent and speaks in its place: frames that look right, then noise",
          KILL_AGENT + AGENT_PORT + f"exec 4> $port && for n in 1 2 3; do printf '{FORGED}' >&4; sleep 0.5; done; "
          "dd if=/dev/urandom bs=256 count=4 >&4 2> /dev/null"),
    Fault("flood-agent", "root inside ends the guest's agent and writes into its port what it can, 64 MiB at most",
          KILL_AGENT + AGENT_PORT + "dd if=/dev/urandom bs=65536 count=1024 > $port 2> /dev/null &"),
    Fault("open-port", "root inside listens on a port that the image does not, the server goes on",
          "busybox nc -l -p 4444 < /dev/null > /dev/null 2>&1 &"),
    Fault("add-account", "root inside adds an account, the server goes on",
          "echo 'guest:x:0:0::/:/bin/false' >> /etc/passwd"),
    Fault("change-etc", "root inside changes a file below /etc, the server goes on",
          "echo '# changed' >> /etc/koboshi-changed"),
    Fault("load-module", "root inside loads a kernel module that is not the image's, the server goes on",
          f"busybox insmod {DROP}/nls_cp438.ko",  # a harmless one of the image's, by another name and unsigned
          f"mkdir -p {DROP} && busybox sed 's/nls_cp437/nls_cp438/g; s/~Module sig/~module sig/' "
          f"$(find /usr/lib/modules -name nls_cp437.ko) > {DROP}/nls_cp438.ko"),
    Fault("kill-guest", "the guest's whole machine vanishes (kill -9 of its emulator)", act=guest.kill),
    Fault("kill-koboshid", "every process of koboshid is killed with -9 at once", act=kill_all),
)}


def usage() -> int:
    print("usage: lab/fault NAME [INSTANCE]\n\nStages a fault in the lab that 'make lab' left running, on the active instance "
          "unless a number is given:")
    for fault in FAULTS.values():
        print(f"  {fault.name:<14} {fault.text}")
    return 2


def main() -> int:
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in FAULTS or not sys.argv[2:3] == [n for n in sys.argv[2:3] if n.isdigit()]:
        return usage()
    fault = FAULTS[sys.argv[1]]
    try:
        number = int(sys.argv[2]) if len(sys.argv) == 3 else api.active(api.call("GET", "/v1/status"))["number"]
        fault.strike(number)
    except OSError as error:
        raise LabError(f"koboshid is not reachable: {error}") from None
    print(f"{fault.name} on instance {number}: {fault.text}.\nLook with lab/koboshi status and lab/koboshi incidents.")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
