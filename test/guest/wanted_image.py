"""An image that is wanted: the engine names it, the builder fails once, then it is there and a guest of it is proven. A part of
scenarios.py; builds nothing itself, so that it needs no archive: the finished image is put in place as the builder does it."""
import json
import pathlib
import shutil
import subprocess
from typing import Any

from koboshi_lab import api, clients, layout, scene, shell
from koboshi_lab.faults import FAULTS

NAME = "dune-lts-nginx-php"  # the first combination of dune: `images/build dune`
LIST = ("dune.combinations.json", "dune.combinations.sig")
IMAGES = pathlib.Path("/run/some-images")  # of this world: what the device has at first
WANTED = layout.STATE / "ledger/wanted-image"


def missing() -> str:
    """Why this cannot be played; "": it can."""
    there = all((layout.IMAGES / name).exists() for name in LIST) and (layout.IMAGES / NAME / "manifest.json").exists()
    return "" if there else f"there is no image of {NAME}: images/build dune"


def put(folder: pathlib.Path) -> None:
    """Whole or not at all."""
    shutil.copytree(folder, IMAGES / ".building")
    (IMAGES / ".building").rename(IMAGES / folder.name)


def with_few(variant: str) -> None:
    """A folder with the image of one variant, and the list of what could be built."""
    IMAGES.mkdir(mode=0o755, exist_ok=True)
    put(layout.IMAGES / variant)
    for name in LIST:
        shutil.copy(layout.IMAGES / name, IMAGES / name)


def status_when(what: str, true: Any) -> dict[str, Any]:
    return shell.wait_for(what, lambda: (status := api.try_call("GET", "/v1/status")) and true(status) and status, 60, 0.2)


def build(check: Any) -> None:
    """As koboshi-build.service does it; here is no room for it, which must cost nothing."""
    done = subprocess.run([layout.ROOT / "images/build", "--cache", IMAGES, "--key", layout.IMAGES / "keys/image.key", "--wanted", WANTED],
                          capture_output=True, text=True, check=False)
    check(done.returncode == 1 and len(done.stderr.splitlines()) == 1, f"it fails in one sentence: {done.stderr}")


def play(asking: clients.Clients, check: Any) -> None:
    try:
        wanted_and_used(asking, check)
    finally:  # the next ones want all images
        scene.configured(lambda text: text, scene.ROLES)
        api.wait_whole()
        shutil.rmtree(IMAGES)


def wanted_and_used(asking: clients.Clients, check: Any) -> None:
    before = api.wait_whole()
    serving = api.active(before)["variant"]
    with_few(serving)
    status = scene.configured(lambda text: text.replace(f"images: {layout.IMAGES}", f"images: {IMAGES}")
                              .replace("amber, birch, cedar", f"amber, birch, cedar, {NAME}"), scene.ROLES)
    check(api.active(status)["number"] == api.active(before)["number"], "nobody fell over a new folder")
    status_when("an image that is wanted", lambda status: status["wanted"]["image"] == NAME)
    shell.wait_for("its name in the file", lambda: WANTED.exists() and WANTED.read_text() == f"{NAME}\n", 10, 0.1)
    build(check)
    status = status_when("what could not be built", lambda status: status["wanted"]["failed"])
    check(status["wanted"]["failed"]["image"] == NAME and "MiB" in status["wanted"]["failed"]["text"], f"is shown: {status['wanted']}")
    check(sorted(api.holder(status, role)["number"] for role in scene.ROLES) == sorted(api.holder(before, role)["number"] for role in scene.ROLES),
          "nothing is lost")
    put(layout.IMAGES / NAME)
    (IMAGES / "wanted-image.failed").unlink()
    status_when("it to be known", lambda status: not status["wanted"]["failed"])
    shell.wait_for("it to be usable", lambda: {v["name"]: v["image"] for v in api.call("GET", "/v1/variants")["variants"]}[NAME] == "ok", 10, 0.2)

    # Not birch: what it has in common with the new image would be suspect then, and another would be built.
    idle = [api.holder(api.call("GET", "/v1/status"), role) for role in ("standby", "spare")]
    first, struck = api.newest_incident() + 1, next(one for one in idle if one["variant"] != "birch")
    FAULTS["kill-guest"].strike(struck["number"])
    scene.wait_closed(first, 0)
    status = status_when("a guest of it", lambda status: NAME in [one["variant"] for one in api.service_of(status)["instances"]
                                                                  if one["state"] in ("ready", "paused")])
    fresh = next(one for one in api.service_of(status)["instances"] if one["variant"] == NAME)
    manifest = json.loads((layout.IMAGES / NAME / "manifest.json").read_text(encoding="utf-8"))
    check({c["layer"]: f"{c['name']} {c['version']}" for c in manifest["components"]} == fresh["components"], f"is made of what was chosen: {fresh}")
    check(manifest["recipe"] == {"name": "dune", "kernel": "lts", "server": "nginx", "runtime": "php"}, "the manifest says recipe and values")
    asking.wait_good(shell.now_us(), 10)
