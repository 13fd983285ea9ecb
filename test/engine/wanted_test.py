"""An image that is not there and should be: the engine names it, and uses it as soon as it is there. A part of test_engine.py."""
import json
import os
import shutil
import signal
import subprocess

import fake_world
from fake_world import WATCHDOG, VM, manifest, notice, wait_for

KERNELS, SERVERS = {"lts": "linux 6.12.0", "new": "linux 7.3.0"}, {"nginx": "nginx 1.26", "apache": "apache 2.4"}
NAMES = {f"dune-{k}-{s}": (kernel, "glibc 2.41", server, "php 8.4") for k, kernel in KERNELS.items() for s, server in SERVERS.items()}


class WantedTests:
    """Mixed into the engine's test case."""

    @property
    def images(self):
        return self.folder / "images"

    def put_list(self, names=tuple(NAMES)):
        """As images/build writes it beside the images."""
        rows = [{"name": name, "components": [dict(zip(("layer", "name", "version"), (layer, *part.split())))
                                              for layer, part in zip(("kernel", "libc", "server", "runtime"), NAMES[name])]} for name in names]
        self.put_signed("dune.combinations", {"format": 1, "recipe": "dune", "recipe_sha256": "0" * 64, "combinations": rows})

    def put_signed(self, name, what):
        (self.images / f"{name}.json").write_text(json.dumps(what))
        subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.folder / "key", "-in", self.images / f"{name}.json",
                        "-out", self.images / f"{name}.sig"], check=True)

    def build(self, name):
        """The builder's last step: the finished folder is put in place."""
        fake_world.VARIANTS[name] = NAMES[name]
        self.addCleanup(fake_world.VARIANTS.pop, name, None)
        fresh = self.images / f".building-{name}"
        fresh.mkdir()
        (fresh / "manifest.json").write_text(json.dumps(manifest(name)))
        subprocess.run([self.programs[1], "sign", "--key", self.folder / "key", fresh], check=True, stdout=subprocess.DEVNULL)
        fresh.rename(self.images / name)

    def cannot_be_built(self, name, why):
        fresh = self.images / "failed.new"
        fresh.write_text(f"{name}\n{why}\n")
        fresh.rename(self.images / "wanted-image.failed")

    def wanted(self):
        file = self.folder / "state/ledger/wanted-image"
        return file.read_text() if file.exists() else None

    def await_wanted(self, name):
        wait_for(f"{name} in the file", lambda: self.wanted() == (name and f"{name}\n"))
        wait_for(f"{name} in the status", lambda: self.engine.status()["wanted"]["image"] == name)

    def only(self, *variants):
        """One image there, the others of the list to be built."""
        self.put_list()
        self.configure(("[amber, birch, cedar]", f"[{', '.join(variants)}]"))

    def variants_held(self):
        return {i["role"]: i["variant"] for i in self.instances()}

    def test_what_would_share_less_is_wanted_and_used_when_it_is_there(self):
        self.build("dune-lts-nginx")
        self.only("dune-(lts|new)-(nginx|apache)")
        status = self.start()
        self.assertEqual(status["reasons"], [])
        self.assertEqual(set(self.variants_held().values()), {"dune-lts-nginx"})
        rows = {v["name"]: v for v in self.ask("GET", "/v1/variants")[1]["variants"]}
        self.assertEqual([rows[name]["image"] for name in NAMES], ["ok", "not built", "not built", "not built"])
        self.assertEqual(rows["dune-new-apache"]["components"]["kernel"], "linux 7.3.0")
        self.await_wanted("dune-new-apache")
        why = self.ask("GET", "/v1/why/dune-new-apache")[1]
        self.assertEqual(why["verdict"], "not built")
        cli = subprocess.run([os.environ["KOBOSHI_CLI"], "status", "--socket", self.engine.socket_path], capture_output=True, text=True, check=False)
        self.assertIn("an image of dune-new-apache, for ", cli.stdout)
        before = self.engine.process.pid
        self.build("dune-new-apache")
        wait_for("both in use", lambda: sorted(self.variants_held().items()) == [
            ("active", "dune-lts-nginx"), ("spare", "dune-new-apache"), ("standby", "dune-new-apache")])
        self.assertEqual(self.engine.process.pid, before)
        self.await_wanted(None)
        self.assertEqual(self.engine.await_state()["reasons"], [])
        self.assertEqual(self.ask("GET", "/v1/incidents"), (200, {"incidents": []}))

    def test_a_suspect_layer_that_nothing_there_avoids(self):
        """Amber falls. Cedar serves and is all that is left: what is wanted shares least with it and has nothing of amber."""
        self.put_list()
        self.configure(("[amber, birch, cedar]", "[amber, cedar, 'dune-(lts|new)-(nginx|apache)']"))
        self.start()
        self.await_wanted(None)
        self.world.guests[self.roles()["active"]].page = b"<h1>owned</h1>\n"  # a takeover: a failure makes nothing suspect
        self.await_closed()
        self.await_wanted("dune-lts-nginx")
        self.build("dune-lts-nginx")
        wait_for("the new one beside cedar", lambda: (held := self.variants_held()).get("active") == "cedar" and "amber" not in held.values()
                 and held.get("standby") == "dune-lts-nginx")

    def test_what_cannot_be_built_is_shown_and_the_next_best_is_wanted(self):
        self.build("dune-lts-nginx")
        self.only("dune-(lts|new)-(nginx|apache)")
        self.start()
        self.await_wanted("dune-new-apache")
        self.cannot_be_built("dune-new-apache", "The archive cannot be reached.")
        status = self.engine.await_state("degraded")
        self.assertEqual(status["wanted"]["failed"], {"image": "dune-new-apache", "text": "The archive cannot be reached."})
        self.assertEqual(status["reasons"], ["an image of dune-new-apache could not be built: The archive cannot be reached."])
        self.await_wanted("dune-lts-apache")
        self.cannot_be_built("dune-lts-apache", "No.")
        self.await_wanted("dune-new-nginx")
        self.cannot_be_built("dune-new-nginx", "No.")
        self.await_wanted(None)  # all pause now
        self.assertEqual(len(self.instances()), 3)
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        self.engine.start()
        self.await_wanted("dune-new-apache")  # a new engine remembers the last failure only
        self.assertEqual(self.engine.status()["wanted"]["failed"]["image"], "dune-new-nginx")
        self.build("dune-new-nginx")  # by hand
        self.engine.await_state()
        self.cannot_be_built("dune-new-apache", "No.")
        self.engine.await_state("degraded")
        (self.images / "wanted-image.failed").unlink()
        self.engine.await_state()

    def test_nonsense_beside_the_images_costs_nothing(self):
        self.build("dune-lts-nginx")
        self.only("dune-(lts|new)-(nginx|apache)")
        self.start()
        self.await_wanted("dune-new-apache")
        for nonsense in ("", "amber\nNo.\n", "\n\n", "x" * 600, "dune-new-apache"):
            (self.images / "wanted-image.failed").write_text(nonsense)
            wait_for("a look at it", lambda beats=self.engine.beats: self.engine.beats > beats + 12)
            self.assertIsNone(self.engine.status()["wanted"]["failed"])
        (self.images / "dune-new-apache").mkdir()
        (self.images / "dune-new-apache/manifest.json").write_text("{}")
        status = self.engine.await_state("degraded")
        self.assertRegex(status["reasons"][0], "^variant dune-new-apache cannot be used: .*manifest.sig: is not there")
        self.await_wanted("dune-lts-apache")
        shutil.rmtree(self.images / "dune-new-apache")
        self.build("dune-new-apache")
        wait_for("it in use", lambda: "dune-new-apache" in self.variants_held().values())
        self.engine.await_state()

    def test_an_image_that_is_taken_away_is_used_no_more(self):
        self.build("dune-lts-nginx")
        self.build("dune-new-apache")
        self.only("dune-(lts|new)-(nginx|apache)")
        self.start()
        wait_for("both in use", lambda: set(self.variants_held().values()) == {"dune-lts-nginx", "dune-new-apache"})
        (self.images / "dune-new-apache").rename(self.images / ".gone")
        self.await_wanted("dune-new-apache")
        standby = self.roles()["standby"]
        self.engine.actuators[VM].link.send(notice(WATCHDOG, standby, text="the guest stopped feeding its watchdog"))
        self.await_closed()
        self.engine.await_state()
        self.assertNotIn("dune-new-apache", [self.variants_held()["spare"]])
        (self.images / ".gone").rename(self.images / "dune-new-apache")
        self.await_wanted(None)
