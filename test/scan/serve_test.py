#!/usr/bin/env python3
"""The real koboshi-scan below a double of koboshid: what it tells the engine of what is written into its folders. Needs root.

usage: serve_test.py KOBOSHI-SCAN
"""
import hashlib
import os
import pathlib
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "engine"))
from fake_world import FILE_BAD, FILE_COUNTS, FILE_SKIPPED, FILE_TROUBLE, FILE_UNKNOWN, READY, Part, config, own_folder, wait_for  # noqa: E402

PROGRAM = ""
MARKED = "a HARMLESS-MARKER in it"


class ServeTest(unittest.TestCase):
    def setUp(self):
        self.folder = own_folder(self, "kbfs.")
        for name in ("rules", "data", "data/kb-3", "shared"):
            (self.folder / name).mkdir()
        (self.folder / "rules/ours.yar").write_text('rule marker { strings: $a = "HARMLESS-MARKER" condition: $a }\n'
                                                    'rule slow { strings: $a = "BE-SLOW" condition: $a and '
                                                    'for all i in (1..2000000000) : (i + filesize != 7) }\n')
        (self.folder / "bad").write_text(hashlib.sha256(b"known").hexdigest() + "  known\n")
        self.configure()

    def configure(self, more=""):
        (self.folder / "koboshi.yaml").write_text(config(self.folder, f"""files:
  rules: {self.folder}/rules
  bad: {self.folder}/bad
  file_time: 300ms
  folders: {{data: {{path: {self.folder}/data, instances: yes}}, shared: {{path: {self.folder}/shared, service: sensor}}}}
{more}"""))

    def start(self):
        self.part = Part(PROGRAM, self.folder / "koboshi.yaml")
        self.addCleanup(self.end, self.part)
        self.hear = self.part.hear

    @staticmethod
    def end(part):
        if part.process.returncode is None:
            part.end()

    def write(self, name, text):
        (self.folder / name).write_text(text)

    def test_what_guests_write_is_told_with_its_owner(self):
        self.write("data/kb-3/old", MARKED)
        self.start()
        self.assertEqual(self.hear(READY)[0], 0)
        self.assertEqual(self.hear(FILE_BAD, "kb-3/old"), (3, f"{self.folder}/data/kb-3/old: rule marker of ours.yar"))
        (self.folder / "data/kb-12/deep").mkdir(parents=True)
        self.write("data/kb-12/deep/new", "known")
        self.assertEqual(self.hear(FILE_BAD, "deep/new"), (12, f"{self.folder}/data/kb-12/deep/new: listed as bad"))
        self.write("shared/x", MARKED)
        self.assertEqual(self.hear(FILE_BAD, "shared/x")[0], 0)
        self.write("data/kb-3x", MARKED)
        self.assertEqual(self.hear(FILE_BAD, "kb-3x")[0], 0)
        self.write("shared/y", "never seen")
        self.assertEqual(self.hear(FILE_UNKNOWN, "shared/y")[1],
                         f"{hashlib.sha256(b'never seen').hexdigest()} {self.folder}/shared/y")
        self.hear(FILE_COUNTS)

    def test_hostile_names_and_links_do_no_harm(self):
        self.start()
        self.hear(READY)
        os.symlink("/etc/passwd", self.folder / "data/kb-3/link")
        os.symlink("/etc", self.folder / "data/kb-4")
        os.mkfifo(self.folder / "data/kb-3/pipe")
        self.write("data/kb-3/\x1b[2J\n\u00fc" + 200 * "x", MARKED)
        instance, text = self.hear(FILE_BAD)
        self.assertEqual(instance, 3)
        self.assertRegex(text, r"^[ -~]*xxx: rule marker of ours.yar$")
        self.write("shared/last", "the last one")
        self.assertIn("shared/last", self.hear(FILE_UNKNOWN)[1])  # passwd would be unknown too, and have come before

    def test_a_file_that_is_too_slow_is_named_and_the_others_go_on(self):
        self.start()
        self.hear(READY)
        self.write("shared/slow", "BE-SLOW")
        self.write("shared/x", MARKED)
        self.assertIn("shared/slow: looking at it took longer than 300 ms", self.hear(FILE_SKIPPED)[1])
        self.hear(FILE_BAD, "shared/x")

    def test_what_cannot_be_used_is_told_to_each_engine(self):
        self.write("rules/theirs.yar", "rule broken {\n condition: nothing }\n")
        (self.folder / "shared").rmdir()
        self.start()
        for _ in range(2):
            self.hear(READY)
            self.assertIn("rules/theirs.yar:2: undefined identifier", self.hear(FILE_TROUBLE, "theirs")[1])
            self.hear(FILE_TROUBLE, "shared")
            self.part.connect()
        (self.folder / "shared").mkdir()
        self.write("shared/x", MARKED)
        self.hear(FILE_BAD, "shared/x")  # the folder is there again: looked for every five seconds

    def test_findings_wait_for_an_engine_that_is_away(self):
        self.start()
        self.hear(READY)
        self.part.engine.close()
        self.write("shared/x", MARKED)
        self.write("shared/y", "never seen")
        while b"shared/x" not in self.part.process.stderr.readline():
            pass
        self.part.connect()
        self.hear(FILE_BAD, "shared/x")

    def test_the_end_of_the_supervisor_and_a_reload_end_it(self):
        self.start()
        self.hear(READY)
        self.assertEqual(self.part.end(), 0)
        self.start()
        self.hear(READY)
        self.part.process.send_signal(signal.SIGHUP)  # koboshid starts the next one, which reads rules and lists anew
        self.assertEqual(self.part.process.wait(20), -signal.SIGHUP)

    def confined_cell(self):
        pids = pathlib.Path(f"/proc/{self.part.process.pid}/task/{self.part.process.pid}/children").read_text().split()
        try:
            status = pathlib.Path(f"/proc/{pids[0]}/status").read_text() if pids else ""
        except OSError:
            return None
        return "Seccomp:\t2" in status and status

    def test_it_gives_its_rights_away(self):
        self.start()
        self.hear(READY)
        status = pathlib.Path(f"/proc/{self.part.process.pid}/status").read_text()
        kept = sum(1 << bit for bit in (2, 5, 6, 7))  # DAC_READ_SEARCH, KILL, SETGID, SETUID
        self.assertIn(f"CapEff:\t{kept:016x}", status)
        self.assertIn("NoNewPrivs:\t1", status)
        self.write("shared/slow", "BE-SLOW")
        cell = wait_for("a confined cell", self.confined_cell)
        self.assertIn("CapEff:\t0000000000000000", cell)
        self.assertIn("Uid:\t65534\t65534\t65534\t65534", cell)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: needs root")
        sys.exit(77)
    PROGRAM = sys.argv.pop(1)
    unittest.main()
