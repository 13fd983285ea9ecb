#!/usr/bin/env python3
"""The real koboshi-host below a double of koboshid: what it says when something of koboshi's own is changed. Needs root.

usage: host_test.py KOBOSHI-HOST
"""
import os
import pathlib
import shutil
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "engine"))
from fake_world import MEDDLED, READY, Part, config, own_folder  # noqa: E402

PROGRAM = ""


class HostTest(unittest.TestCase):
    def setUp(self):
        self.folder = own_folder(self, "kbh.")
        for name in ("run", "libexec", "koboshi.yaml.d"):
            (self.folder / name).mkdir()
        shutil.copy(PROGRAM, self.folder / "libexec/koboshi-host")
        self.engine = self.folder / "libexec/koboshi-engine"
        self.engine.write_text("a program")
        (self.folder / "key.pub").write_text("a key")
        self.config = self.folder / "koboshi.yaml"
        self.config.write_text(config(self.folder))

    def start(self):
        part = Part(self.folder / "libexec/koboshi-host", self.config)
        self.addCleanup(self.end, part)
        part.hear(READY)
        return part

    @staticmethod
    def end(part):
        if part.process.returncode is None:
            part.end()

    def says(self, part, *words):
        text = part.hear(MEDDLED, words[0])[1]
        for word in words:
            self.assertIn(word, text)

    def test_what_is_changed_is_named_with_what_changed(self):
        part = self.start()
        self.engine.write_text("another program")
        self.says(part, "koboshi-engine has another content", "restart koboshid")
        self.engine.write_text("a program")
        self.says(part, "as they were again")
        self.engine.chmod(0o666)
        self.says(part, "koboshi-engine has mode 666 (it was 644)")
        os.chown(self.engine, 33, 33)
        self.says(part, "belongs to 33:33 (it was 0:0)")
        fresh = self.folder / "libexec/new"
        fresh.write_text("replaced by a rename")
        fresh.rename(self.engine)
        self.says(part, "koboshi-engine has another content")
        (self.folder / "key.pub").unlink()
        self.says(part, "key.pub is gone")
        (self.folder / "koboshi.yaml.d/10-more.yaml").write_text("device: other\n")
        self.says(part, "10-more.yaml was not there before", "not in use before a reload")

    def test_a_reload_takes_the_configuration_and_nothing_else(self):
        part = self.start()
        self.engine.write_text("another program")
        self.says(part, "koboshi-engine has another content")
        self.config.write_text(config(self.folder) + "# changed\n")
        self.says(part, "koboshi.yaml has another content", "not in use before a reload")
        (self.folder / "koboshi.yaml.d/10-more.yaml").write_text("device: other\n")
        self.says(part, "10-more.yaml was not there before")
        rules = self.folder / "rules"
        rules.mkdir()
        (rules / "ours.yar").write_text("rule ours { condition: false }\n")
        (self.folder / "koboshi.yaml.d/20-rules.yaml").write_text(f"files: {{rules: {rules}, folders: {{data: {{path: {rules}}}}}}}\n")
        self.says(part, "20-rules.yaml was not there before")
        part.process.send_signal(signal.SIGHUP)
        self.assertEqual(part.process.wait(20), 0)
        part = self.start()
        self.says(part, "koboshi-engine has another content")
        self.engine.write_text("a program")
        self.says(part, "all of koboshi's own files are as they were again")  # so nothing else was amiss

    def test_one_that_is_killed_does_not_make_it_forget(self):
        part = self.start()
        part.process.kill()
        part.process.wait()
        self.engine.write_text("changed while nobody looked")
        part = self.start()
        self.says(part, "koboshi-engine has another content")
        part.connect()  # another engine, which has not heard it
        part.hear(READY)
        self.says(part, "koboshi-engine has another content")
        part.end()
        remembered = self.folder / "run/host.own"
        self.assertEqual(remembered.stat().st_mode & 0o777, 0o600)
        lines = remembered.read_text().splitlines()
        remembered.write_text("\n".join([f"koboshid {os.getpid()} 1", *lines[1:]]))  # of an earlier koboshid
        part = self.start()
        (self.folder / "key.pub").write_text("another")
        self.assertNotIn("koboshi-engine", part.hear(MEDDLED)[1])  # as it was when this koboshid came
        part.end()
        remembered.write_text("nonsense")
        self.start()

    def test_what_stands_in_the_way_does_not_stop_it(self):
        self.engine.unlink()
        os.mkfifo(self.engine)
        part = self.start()
        self.engine.unlink()
        self.engine.symlink_to("/dev/zero")
        self.says(part, "koboshi-engine has mode 777")
        self.engine.unlink()
        self.says(part, "koboshi-engine is gone")
        self.assertEqual(part.end(), 0)

    def test_it_keeps_one_right(self):
        part = self.start()
        status = pathlib.Path(f"/proc/{part.process.pid}/status").read_text()
        self.assertIn(f"CapEff:\t{1 << 2:016x}", status)  # DAC_READ_SEARCH
        self.assertIn("NoNewPrivs:\t1", status)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: needs root")
        sys.exit(77)
    PROGRAM = sys.argv.pop(1)
    unittest.main()
