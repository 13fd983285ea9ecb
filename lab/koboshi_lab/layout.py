"""Where everything of the laboratory lies, and its addresses: one place, so that no other module spells a path or an address.

Inside a world (see world.py) /run is its own tmpfs; what must outlive a process but not the world lies in WORLDS/<name>.
"""
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("KOBOSHI_BUILD", ROOT / "build")).resolve()
HOME_CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "koboshi"
CACHE = pathlib.Path(os.environ.get("KOBOSHI_CACHE") or ("/var/cache/koboshi" if os.geteuid() == 0 else HOME_CACHE)).resolve()
os.environ["KOBOSHI_CACHE"] = str(CACHE)  # in a world everybody is root: what was found out outside counts
WORLDS = BUILD / "worlds"

VARIANTS = ("amber", "birch", "cedar")
SERVICE = "sensor"
ENGINE_USER = 64417  # no account has it: the engine needs a number of its own, not a name

# Programs, as the build directory has them. In a world they are copied into LIBEXEC: the engine's user may not enter $HOME.
PROGRAMS = {
    "koboshid": "src/supervisor/koboshid",
    "koboshi-engine": "src/engine/koboshi-engine",
    "koboshi-net": "src/act/net/koboshi-net",
    "koboshi-vm": "src/act/vm/koboshi-vm",
    "koboshi-decoy": "src/decoy/koboshi-decoy",
    "koboshi-host": "src/act/host/koboshi-host",
    "koboshi-scan": "src/scan/koboshi-scan",
    "koboshi-vault": "src/act/vault/koboshi-vault",
}
ON_DEMAND = ("koboshi-scan", "koboshi-vault")  # run only where the configuration names folders to watch, or a vault
CLI = BUILD / "src/cli/koboshi"
LOAD = BUILD / "lab/koboshi-load"

# Inside a world.
RUN = pathlib.Path("/run/koboshi")
STATE = pathlib.Path("/run/state")
IMAGES = pathlib.Path("/run/images")
LIBEXEC = pathlib.Path("/run/libexec")
KEEPER = pathlib.Path("/run/lab")  # what process 1 of the world says and is told
CONFIG = pathlib.Path("/run/koboshi.yaml")
PROFILE = pathlib.Path("/run/profile.json")  # what the lab's guests may open: lab/profile.json
SOCKET = RUN / "koboshi.sock"

CLIENT_NETNS = "client"
SERVICE4, SERVICE6 = "203.0.113.10", "2001:db8:10::10"
SERVICE_NET4, SERVICE_NET6 = "203.0.113.0/24", "2001:db8:10::/64"
CLIENT4, CLIENT6 = "198.51.100.10", "2001:db8:20::10"
CLIENT_NET4, CLIENT_NET6 = "198.51.100.0/24", "2001:db8:20::/64"
HOST4, HOST6 = "198.51.100.1", "2001:db8:20::1"  # the host's end of the clients' network
GUESTS4, GUESTS6 = "192.0.2.0/26", "2001:db8:1::/64"
NOBODY4 = "192.0.2.61"  # the range's last but one: no world lives through so many instances
PORT = 80
COLLECTOR_PORT = 8883  # at CLIENT4: where the profile lets guests report to


def config_text(user: int = ENGINE_USER) -> str:
    """koboshi.yaml of the lab's device."""
    return f"""\
device: lab
user: {user}
paths:
  state: {STATE}
  run: {RUN}
  images: {IMAGES}
  image_key: {IMAGES}/keys/image.pub
hypervisor:
  uri: embed
  accelerator: tcg
  lab: true
guests:
  addresses: [{GUESTS4}, "{GUESTS6}"]
limits: {{evidence: 256MiB, evidence_total: 512MiB}}
brake: {{falls: 0}}
services:
  {SERVICE}:
    addresses: [{SERVICE4}, "{SERVICE6}"]
    ports: [{PORT}/tcp]
    variants: [{", ".join(VARIANTS)}]
    standby: 1
    spare: 1
    clients: [{CLIENT_NET4}, "{CLIENT_NET6}"]
    profile: {PROFILE}
    local_networks: [{CLIENT_NET4}, "{CLIENT_NET6}"]
    probe: {{interval: 100ms, timeout: 250ms, failures: 3, window: 5, peer: [/, /robots.txt, /api/reading]}}
"""
