"""A guest is taken over, everything that it could read is stolen, and the stolen is tried: by a backend that looks into the list of
what is valid, at the very moment at which the replacement answers its first request, and against the replacement itself.
"""
import ctypes
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request

from koboshi_lab import api, clients, guest, layout, network, scene, shell
from koboshi_lab.faults import FAULTS

TOKEN_PATH, ACCOUNT = "/etc/sensor/backend.token", "service"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
SECRETS = f"""\
    secrets:
      backend: {{kind: token, path: {TOKEN_PATH}, owner: "root:www-data", mode: 0440}}
      maintenance: {{kind: password, user: {ACCOUNT}}}
      host: {{kind: ssh-host-key}}
      deploy: {{kind: ssh-user-key, user: {ACCOUNT}}}
"""
CALM = ("timeout: 250ms, failures: 3, window: 5", "timeout: 1s, failures: 8, window: 16")  # this is not about how soon silence is seen
LISTS = layout.RUN / "secrets" / layout.SERVICE

# Asks the service as a client and looks at once, at the first answer of another server than before, whether the token is valid.
WATCHER = """
import http.client, pathlib, sys, time
address, path, token = sys.argv[1:]
def server():
    try:
        connection = http.client.HTTPConnection(address, timeout=2)
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        return answer.getheader("Server") if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
before = server()
print("sees", before, flush=True)
while (now := server()) in (None, before):
    time.sleep(0.01)  # emulated guests have other clients to answer
print(now, "valid" if token in pathlib.Path(path).read_text() else "refused", flush=True)
"""


def check(true: object, what: str) -> None:
    if not true:
        raise AssertionError(what)


class Backend:
    """Lets in whoever has a token that stands in the list: a line for each, INSTANCE TOKEN."""

    def __init__(self) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = {line.split()[1]: line.split()[0] for line in (LISTS / "backend").read_text().splitlines()}
                name = known.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
                self.send_response(200 if name else 401)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def lets_in(self, token: str) -> bool:
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.server_port}/", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status == 200
        except urllib.error.HTTPError as refusal:
            check(refusal.code == 401, f"the backend said {refusal.code}")
            return False

    def end(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def in_guest(number: int, command: str) -> str:
    status, said = guest.ask(number, command)
    check(status == 0, f"'{command}' in guest {number}: {said}")
    return said.replace("\r", "").strip()


def renewed(old: set[int]) -> None:
    """Nobody is left who was built before the configuration was changed."""
    shell.wait_for("guests of the new configuration only", lambda: not old & scene.numbers(api.call("GET", "/v1/status")), 300, 0.2)
    api.wait_whole()


def lines(name: str) -> dict[str, list[str]]:
    """Of a list: words by instance."""
    return {re.split("[ ,]", line)[0]: line.split() for line in (LISTS / name).read_text().splitlines()}


def crypt(password: str, setting: str) -> str:
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    return (library.crypt(password.encode(), setting.encode()) or b"").decode()


def stolen(number: int) -> dict[str, str]:
    """What root inside can read, as root inside reads it."""
    shadow = in_guest(number, "cat /etc/shadow")
    return {
        "token": in_guest(number, f"cat {TOKEN_PATH}"),
        "hash": next(line.split(":")[1] for line in shadow.splitlines() if line.startswith(ACCOUNT + ":")),
        "host": in_guest(number, f"cat {HOST_KEY}.pub"),
        "private": in_guest(number, f"cat {HOST_KEY}"),
        "deploy": in_guest(number, f"cat /home/{ACCOUNT}/.ssh/authorized_keys"),
        "challenge": in_guest(number, "cat /etc/koboshi/challenge.key"),
        "mac": in_guest(number, "cat /sys/class/net/eth0/address"),
        "name": in_guest(number, "cat /proc/sys/kernel/hostname"),
    }


def is_half_of(private: pathlib.Path, public: str) -> bool:
    return shell.run("ssh-keygen", "-y", "-f", private).split()[:2] == public.split()[:2]


def laid_as_it_should(number: int, had: dict[str, str]) -> None:
    """In the guest by file and mode; and on the host what belongs to it."""
    modes = in_guest(number, f"stat -c '%a %u %g' {TOKEN_PATH} {HOST_KEY} {HOST_KEY}.pub /home/{ACCOUNT}/.ssh /home/{ACCOUNT}/.ssh/authorized_keys")
    check(modes.splitlines() == ["440 0 33", "600 0 0", "644 0 0", "700 1000 1000", "600 1000 1000"], f"modes in the guest: {modes}")
    name = f"kb-{number}"
    check(lines("backend")[name][1] == had["token"], "the list has the token that the guest has")
    password = lines("maintenance")[name][2]
    check(had["hash"].startswith("$y$") and crypt(password, had["hash"]) == had["hash"], f"yescrypt of the password in the list: {had['hash']}")
    check(lines("host")[name][1:] == had["host"].split(), "the list has the host's public key")
    check(lines("deploy")[name][2:] == had["deploy"].split(), "the list has the user's public key")
    key = LISTS / f"deploy.{name}"
    check(key.stat().st_mode & 0o7777 == 0o600 and (LISTS / "backend").stat().st_mode & 0o7777 == 0o600, "both are root's alone")
    check(is_half_of(key, had["deploy"]), f"{key} is the private half of what the guest lets in")
    with tempfile.NamedTemporaryFile("w") as private:  # root's alone, as ssh-keygen wants it
        private.write(had["private"] + "\n")
        private.flush()
        check(is_half_of(pathlib.Path(private.name), had["host"]), "the host's two halves belong together")


def answers_to(challenge: str, page: bytes) -> bool:
    """Whether the service answers as whoever has this key would."""
    nonce = os.urandom(16)
    argv = network.client_exec("curl", "-s", f"http://{layout.SERVICE4}/api/challenge?nonce={nonce.hex()}")
    answer = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout)
    return answer["digest"] == hmac.new(bytes.fromhex(challenge), nonce + hashlib.sha256(page).digest(), "sha256").hexdigest()


def nowhere_below(folder: pathlib.Path, secrets: list[str]) -> None:
    for path in folder.rglob("*"):
        try:
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        except FileNotFoundError:  # gone since it was listed
            continue
        for secret in secrets:
            check(secret.encode() not in content, f"{path} still has what the victim could read")


def take_over_and_watch(victim: int, token: str) -> None:
    """The fault; back when somebody else answers clients."""
    argv = network.client_exec(sys.executable, "-c", WATCHER, layout.SERVICE4, str(LISTS / "backend"), token)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watcher:
        check(watcher.stdout.readline().startswith("sees "), "the client sees a server")
        FAULTS["tamper"].strike(victim)
        seen = watcher.stdout.readline().split()
    check(seen[-1:] == ["refused"], f"at the replacement's first answer the stolen token was refused: {seen}")


def story_of(victim: int) -> dict:
    """Once it is closed. On a busy host others may fall as well, which are none of ours."""
    def look() -> dict:
        found = [one["number"] for one in api.incidents() if one["victim"]["number"] == victim and one["verdict"] not in api.NOBODY_FELL]
        story = api.incident(min(found)) if found else {}
        return story if story.get("closed") else {}

    return shell.wait_for(f"the end of the incident of kb-{victim}", look, 300, 0.2)


def refused_everywhere(victim: int, had: dict[str, str], password: str) -> None:
    shell.wait_for(f"the end of guest {victim}", lambda: not (layout.RUN / "guest" / str(victim)).exists(), 120, 0.1)
    check(f"kb-{victim}" not in "".join(path.read_text() + path.name for path in LISTS.iterdir()), "the victim stands in no list")
    nowhere_below(layout.RUN, [had["token"], password, had["challenge"], had["private"].splitlines()[2]])
    nowhere_below(layout.STATE / "ledger", [had["token"], password, had["challenge"]])
    told = json.loads(shell.run(layout.CLI, "secrets", f"kb-{victim}", "--json"))["secrets"]
    check({row["kind"] for row in told} == {"token", "password", "ssh-host-key", "ssh-user-key", "key", "address", "mac"}, f"all is listed: {told}")
    check({row["state"] for row in told} == {"revoked"}, f"as revoked: {told}")


def robbed() -> None:
    backend = Backend()
    status = api.wait_whole()
    victim, others = api.active(status)["number"], scene.numbers(status)
    had = stolen(victim)
    laid_as_it_should(victim, had)
    password = lines("maintenance")[f"kb-{victim}"][2]
    page = subprocess.run(network.client_exec("curl", "-s", f"http://{layout.SERVICE4}/"), stdout=subprocess.PIPE, check=True).stdout
    check(set(lines("backend")) >= {f"kb-{number}" for number in others}, f"all that stand are listed: {lines('backend')}")
    check(len({words[1] for words in lines("backend").values()}) == len(lines("backend")), "each with a token of its own")
    check(backend.lets_in(had["token"]) and not backend.lets_in("0" * 64), "the backend takes the victim's token, and not any")
    check(answers_to(had["challenge"], page), "the victim answers the challenge with the key that was stolen")
    take_over_and_watch(victim, had["token"])
    check(not backend.lets_in(had["token"]), "nor does the backend take it")
    replacement = api.active(api.call("GET", "/v1/status"))["number"]
    check(replacement != victim, "another one serves")
    has = stolen(replacement)
    laid_as_it_should(replacement, has)
    check(backend.lets_in(has["token"]), "the replacement's own is taken")
    check(not set(had.values()) & set(has.values()), f"it has nothing of what was stolen: {[key for key in had if had[key] == has[key]]}")
    check(crypt(password, has["hash"]) != has["hash"], "the stolen password does not open the replacement")
    check(answers_to(has["challenge"], page) and not answers_to(had["challenge"], page), "nor does the stolen key answer for it")
    check({row["state"] for row in api.call("GET", f"/v1/secrets/kb-{replacement}")["secrets"]} == {"valid"}, "the replacement's are valid")
    refused_everywhere(victim, had, password)
    story = story_of(victim)
    check(story["verdict"] == "compromised", f"it was seen for what it was: {story['cause']}")
    told = {step["step"]: step for step in story["steps"]}
    check(f"4 secrets of kb-{victim} are not valid any more" in told["revoked"]["text"], f"the story tells it: {told['revoked']}")
    print(f"# revoked {told['revoked']['ms']} ms, steered {told['steered']['ms']} ms after the first evidence", flush=True)
    backend.end()


def play(asking: clients.Clients) -> None:
    old = scene.numbers(api.wait_whole())
    scene.configured(lambda text: text.replace(*CALM) + SECRETS, scene.ROLES)
    renewed(old)
    try:
        robbed()
    finally:
        old = scene.numbers(api.wait_whole())
        scene.configured(lambda text: text, scene.ROLES)
        renewed(old)
    asking.wait_good(shell.now_us(), 10)
