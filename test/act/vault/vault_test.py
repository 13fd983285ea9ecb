#!/usr/bin/env python3
"""The real koboshi-vault with the real restic, below doubles of koboshid and of the engine. Needs root.

usage: vault_test.py KOBOSHI-VAULT
"""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "engine"))
from fake_world import (WAS_ADDED, ANSWER, BACKUP, CHANGE, WAS_CHANGED, FORGOTTEN, GOOD, NOTICE, READY, WAS_REMOVED, RESTORE, RETURN, WAS_RETURNED,  # noqa: E402
                        ROLLBACK, SNAPSHOT, SUSPECT, TEXT_MAX, VAULT_STATE, Part, config, order, own_folder, wait_for)

PROGRAM = ""


def tree(folder):
    """Everything below it: kind, bytes, mode, owner."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        body = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (body, oct(status.st_mode), status.st_uid, status.st_gid)
    return found


def now_us():
    return time.time_ns() // 1000


class VaultTest(unittest.TestCase):
    def setUp(self):
        self.folder = own_folder(self, "kbv.")
        self.vault = self.folder / "vault"
        self.data = self.vault / "data"
        self.ids = 0
        self.answers, self.snapshots, self.changes, self.state, self.ready = {}, {}, {}, None, 0
        self.configure()

    def configure(self, more="every: 0s"):
        (self.folder / "koboshi.yaml").write_text(config(self.folder, f"    vault: {{path: {self.vault}, {more}}}\n"))

    def start(self):
        self.part = Part(PROGRAM, self.folder / "koboshi.yaml")
        self.addCleanup(self.end)
        self.hear_until("it is ready", lambda: self.state is not None)

    def end(self):
        if self.part.process.returncode is None:
            self.assertEqual(self.part.end(), 0)

    def kill(self):
        self.part.process.send_signal(signal.SIGKILL)
        self.part.process.communicate()
        self.part.engine.close()
        self.part.supervisor.close()

    def hear_until(self, what, condition):
        while not condition():
            try:
                bytes_ = self.part.engine.recv(65536)
            except TimeoutError:
                raise AssertionError(f"not heard: {what}; {self.answers}, {self.state!r}") from None
            self.assertTrue(bytes_, f"it ended before: {what}")
            kind = struct.unpack_from("=HHI", bytes_)[1]
            if kind == ANSWER:
                id_, status = struct.unpack_from("=Qi", bytes_, 8)
                self.answers[id_] = (status, bytes_[24:24 + TEXT_MAX].split(b"\0")[0].decode())
                continue
            self.assertEqual(kind, NOTICE)
            type_ = struct.unpack_from("=qI", bytes_, 8)[1]
            text = bytes_[-TEXT_MAX:].split(b"\0")[0].decode()
            if type_ == READY:
                self.ready += 1
                self.snapshots, self.changes = {}, {}
            elif type_ == VAULT_STATE:
                self.state = text
            elif type_ == SNAPSHOT:
                number, begun, ended, size, files, state = struct.unpack_from("=QqqQII", bytes_, 32)
                self.snapshots[number] = {"begun": begun, "ended": ended, "bytes": size, "files": files, "state": state}
            elif type_ == CHANGE:
                number, incident, size, kind = struct.unpack_from("=QQQI", bytes_, 32)
                self.changes[number] = {"incident": incident, "bytes": size, "kind": kind, "path": text}

    def send(self, *args, **kwargs):
        self.ids += 1
        self.part.engine.send(order(self.ids, *args, **kwargs))
        return self.ids

    def do(self, *args, **kwargs):
        """The answer, which comes behind all that is told about it."""
        id_ = self.send(*args, **kwargs)
        self.hear_until(f"the answer to {args}", lambda: id_ in self.answers)
        return self.answers[id_]

    def backup(self):
        status, text = self.do(BACKUP)
        self.assertEqual(status, 0, text)
        return text

    def fill(self):
        """What a service may have written, with what is unusual."""
        (self.data / "deep/er").mkdir(parents=True)
        (self.data / "readings.json").write_text('{"stored": 1}')
        (self.data / "deep/er/file").write_bytes(os.urandom(3000))
        (self.data / "deep/[a]*?\\ \"b\n\u00fc").write_text("a name that is also a pattern")
        (self.data / "owned").write_text("x")
        os.chown(self.data / "owned", 33, 44)
        os.chmod(self.data / "owned", 0o640)
        os.symlink("/etc/passwd", self.data / "link")
        (self.data / "empty").mkdir()

    def kinds(self):
        return sorted((change["path"], change["kind"]) for change in self.changes.values())

    def test_there_and_back(self):
        self.start()
        self.assertEqual(oct(self.vault.stat().st_mode & 0o777), "0o700")
        self.fill()
        before = tree(self.data)
        self.assertIn("snapshot 1: 4 files", self.backup())
        self.assertEqual((self.snapshots[1]["files"], self.snapshots[1]["state"]), (4, GOOD))
        evidence = now_us()
        (self.data / "readings.json").write_text('{"stored": 999}')
        (self.data / "deep/er/file").write_bytes(os.urandom(3000))
        shutil.rmtree(self.data / "empty")
        (self.data / "deep/[a]*?\\ \"b\n\u00fc").unlink()
        os.chmod(self.data / "owned", 0o4777)
        os.chmod(self.data / "deep", 0o1777)
        (self.data / "deep/shell").write_text("evil")
        (self.data / "new/tree").mkdir(parents=True)
        (self.data / "new/tree/a").write_text("evil too")
        (self.data / "link").unlink()
        os.symlink("/etc/shadow", self.data / "link")
        self.backup()
        self.assertEqual(self.snapshots[2]["state"], GOOD)
        status, text = self.do(ROLLBACK, incident=7, before_us=evidence)
        self.assertEqual(status, 0, text)
        self.assertRegex(text, r"^the data is as in snapshot 1; 8 changes were put aside; \d+ ms$")
        self.assertEqual(tree(self.data), before)
        self.assertEqual(self.snapshots[2]["state"], SUSPECT)
        self.assertEqual(self.kinds(), sorted([
            ("readings.json", WAS_CHANGED), ("deep/er/file", WAS_CHANGED), ("empty", WAS_REMOVED), ("owned", WAS_CHANGED), ("deep/shell", WAS_ADDED),
            ("new", WAS_ADDED), ("link", WAS_CHANGED), ('deep/[a]*?\\%20"b%0a%c3%bc', WAS_REMOVED)]))
        self.assertEqual({change["incident"] for change in self.changes.values()}, {7})
        self.assertFalse((self.vault / "staging").exists())
        number = next(n for n, change in self.changes.items() if change["path"] == "new")
        self.assertEqual((self.vault / f"kept/{number}/tree/a").read_text(), "evil too")
        self.assertEqual(os.readlink("/etc/passwd") if os.path.islink("/etc/passwd") else "", "", "no link was followed")

    def test_again_is_the_same(self):
        self.start()
        self.fill()
        before = tree(self.data)
        self.backup()
        evidence = now_us()
        (self.data / "readings.json").write_text("{}")
        for incident in (7, 8):
            status, text = self.do(ROLLBACK, incident=incident, before_us=evidence)
            self.assertEqual(status, 0, text)
            self.assertEqual(tree(self.data), before)
        (self.data / "readings.json").write_text("{}")
        self.assertEqual(self.do(ROLLBACK, incident=7, before_us=evidence + 1000), (0, "that was done already"))
        self.assertEqual((self.data / "readings.json").read_text(), "{}", "what came after it stays")
        self.assertEqual(self.kinds(), [("readings.json", WAS_CHANGED)])

    def test_a_change_is_taken_back_and_back_again(self):
        self.start()
        (self.data / "a").write_text("good")
        self.backup()
        evidence = now_us()
        (self.data / "a").write_text("perhaps good")
        (self.data / "b").write_text("added")
        self.do(ROLLBACK, incident=3, before_us=evidence)
        by_path = {change["path"]: number for number, change in self.changes.items()}
        self.assertEqual(self.do(RETURN, number=by_path["a"])[0], 0)
        self.assertEqual((self.data / "a").read_text(), "perhaps good")
        self.assertEqual(self.changes[by_path["a"]]["kind"], WAS_RETURNED)
        self.assertEqual(self.do(RETURN, number=by_path["a"])[0], 0)
        self.assertEqual((self.data / "a").read_text(), "good")
        self.assertEqual(self.do(RETURN, number=by_path["b"])[0], 0)
        self.assertEqual((self.data / "b").read_text(), "added")
        self.assertEqual(self.do(RETURN, number=by_path["b"]), (-2, f"nothing was put aside of b (change {by_path['b']})"))
        self.assertEqual(self.do(RETURN, number=99), (-2, "there is no change 99"))

    def test_the_last_good_one_is_chosen(self):
        self.start()
        for value in ("one", "two"):
            (self.data / "a").write_text(value)
            self.backup()
        between = self.snapshots[1]["ended"] + 1
        self.assertLess(between, self.snapshots[2]["ended"])
        self.assertEqual(self.do(ROLLBACK, incident=1, before_us=between)[0], 0)
        self.assertEqual((self.data / "a").read_text(), "one")
        self.assertEqual(self.do(ROLLBACK, incident=2, before_us=now_us())[0], 0)
        self.assertEqual((self.data / "a").read_text(), "one", "two is suspect")
        self.assertEqual(self.do(RESTORE, number=2)[0], 0)
        self.assertEqual((self.data / "a").read_text(), "two", "somebody knows better")
        status, text = self.do(ROLLBACK, incident=4, before_us=self.snapshots[1]["ended"])
        self.assertEqual((status, text), (-61, "there is no good snapshot from before the first evidence: the data stays as it is"))
        self.assertEqual((self.data / "a").read_text(), "two")
        self.assertEqual(self.do(RESTORE, number=9), (-2, "there is no snapshot 9"))

    def test_reads_go_on_meanwhile(self):
        self.start()
        (self.data / "a").write_text("right" * 1000)
        self.backup()
        failed, ends, reads = [], threading.Event(), [0]

        def reader():
            while not ends.is_set():
                try:
                    text = (self.data / "a").read_text()
                    if text not in ("right" * 1000, "wrong" * 1000):
                        failed.append(text[:20])
                except OSError as error:
                    failed.append(error)
                reads[0] += 1

        thread = threading.Thread(target=reader)
        thread.start()
        try:
            for incident in (1, 2, 3):
                evidence = now_us()
                (self.data / "new").write_text("wrong" * 1000)
                (self.data / "new").rename(self.data / "a")
                self.assertEqual(self.do(ROLLBACK, incident=incident, before_us=evidence)[0], 0)
        finally:
            ends.set()
            thread.join()
        self.assertEqual(failed, [])
        self.assertGreater(reads[0], 10)
        self.assertEqual((self.data / "a").read_text(), "right" * 1000)

    def test_nothing_changed_is_no_snapshot(self):
        self.start()
        (self.data / "a").write_text("x")
        # the kernel's stamps are coarse: what is as old as the snapshot counts as changed for a second
        said = wait_for("nothing to be done", lambda: (text := self.backup()).startswith("nothing") and text)
        self.assertEqual(said, f"nothing was changed since snapshot {max(self.snapshots)}")

    def test_it_is_backed_up_by_itself_and_old_ones_go(self):
        self.configure("every: 1s, keep_last: 2, keep_hourly: 0, keep_daily: 0")
        self.start()
        for round_ in range(4):
            (self.data / "a").write_text(str(round_))
            self.hear_until("a snapshot", lambda n=round_: max(self.snapshots, default=0) > n)
        self.hear_until("old ones went", lambda: sum(s["state"] == FORGOTTEN for s in self.snapshots.values()) >= 2)

    def restic(self, *argv, **how):
        place = ("--repo", str(self.vault / "repository"), "--password-file", str(self.vault / "password"), "--no-cache")
        return subprocess.Popen(("restic", *place, *argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **how)

    def test_the_lock_of_one_that_was_killed_keeps_nobody_from_forgetting(self):
        """restic's locks of backups do not shut each other out, but whoever forgets needs one of his own."""
        self.configure("every: 0s, keep_last: 1, keep_hourly: 0, keep_daily: 0")
        self.start()
        (self.data / "a").write_text("1")
        self.backup()
        with self.restic("backup", "--stdin", stdin=subprocess.PIPE) as other:
            wait_for("its lock", lambda: any((self.vault / "repository/locks").iterdir()))
            other.send_signal(signal.SIGKILL)
            other.wait()
        self.assertTrue(any((self.vault / "repository/locks").iterdir()))
        (self.data / "a").write_text("2")
        self.backup()
        with self.restic("snapshots", "--json") as asked:
            self.assertEqual(len(json.loads(asked.stdout.read())), 1)

    def test_the_folder_itself_is_of_use_again(self):
        """A guest can shut its owner out, and restic's snapshots do not know the top itself."""
        self.start()
        (self.data / "a").write_text("good")
        os.chown(self.data, 33, 33)
        self.backup()
        evidence = now_us()
        os.chmod(self.data, 0)
        (self.data / "a").write_text("bad")
        self.assertEqual(self.do(ROLLBACK, incident=7, before_us=evidence)[0], 0)
        self.assertEqual(oct(self.data.stat().st_mode & 0o777), "0o700")

    def test_what_it_knows_outlives_it(self):
        self.start()
        (self.data / "a").write_text("good")
        self.backup()
        evidence = now_us()
        (self.data / "a").write_text("bad")
        self.do(ROLLBACK, incident=7, before_us=evidence)
        known = (self.snapshots, self.changes)
        self.kill()
        self.state = None
        self.start()
        self.hear_until("changes", lambda: self.changes)
        self.assertEqual((self.snapshots, self.changes), known)

    def helpers(self, generations):
        """Its job runs (1), and restic below that (2)."""
        pids = [self.part.process.pid]
        for _ in range(generations):
            pids = [int(pid) for one in pids for task in pathlib.Path(f"/proc/{one}/task").glob("*")
                    for pid in (task / "children").read_text().split()]
        return bool(pids)

    def aside(self):
        """So many changes were written down."""
        file = self.vault / "changes"
        return file.read_text().count(" changed ") if file.exists() else 0

    def test_killed_in_the_middle_it_goes_on(self):
        self.start()
        for k in range(40):
            (self.data / f"f{k}").write_bytes(os.urandom(50000))
        before = tree(self.data)
        self.backup()
        evidence = now_us()
        for incident, moment in enumerate((lambda: True, lambda: self.helpers(1), lambda: self.helpers(2),
                                           lambda: (self.vault / "staging").exists(), lambda: (self.vault / "staging/f7").exists(),
                                           lambda: self.aside() >= kept + 5), 1):
            kept = self.aside()
            for k in range(40):
                (self.data / f"f{k}").write_bytes(b"evil")
            self.send(ROLLBACK, incident=incident, before_us=evidence)
            wait_for(f"moment {incident}", lambda m=moment, n=kept: m() or self.aside() >= n + 40)
            self.kill()
            self.state = None
            self.start()
            status, text = self.do(ROLLBACK, incident=incident, before_us=evidence)
            self.assertEqual(status, 0, text)
            self.assertEqual(tree(self.data), before)
            self.assertFalse((self.vault / "staging").exists())

    def test_a_rollback_ends_a_backup(self):
        self.start()
        (self.data / "a").write_text("good")
        self.backup()
        evidence = now_us()
        (self.data / "a").write_text("bad")
        (self.data / "large").write_bytes(os.urandom(64 << 20))
        waits = self.send(BACKUP)
        self.assertEqual(self.do(ROLLBACK, incident=7, before_us=evidence)[0], 0)
        self.assertEqual((self.data / "a").read_text(), "good")
        self.assertIn(self.answers[waits], [(-125, "a rollback comes first")])
        self.backup()  # the lock of the one that was ended is no obstacle

    def test_our_list_is_lost(self):
        self.start()
        for value in ("one", "two"):
            (self.data / "a").write_text(value)
            self.backup()
        self.kill()
        (self.vault / "snapshots").unlink()
        self.state = None
        self.start()
        (self.data / "a").write_text("three")
        self.backup()
        self.assertEqual(sorted(self.snapshots), [1, 2, 3])
        self.assertEqual(self.do(RESTORE, number=1)[0], 0)
        self.assertEqual((self.data / "a").read_text(), "one")

    def test_a_sick_repository_is_told_and_nothing_is_lost(self):
        self.start()
        (self.data / "a").write_text("good")
        self.backup()
        (self.vault / "repository").rename(self.vault / "away")
        (self.data / "a").write_text("newer")
        status, text = self.do(BACKUP)
        self.assertEqual((status, text), (-6, f"repository {self.vault}/repository is gone: bring it back, or remove {self.vault}/snapshots "
                                              "to begin a new one"))
        self.hear_until("the state", lambda: self.state == text)
        status, text = self.do(ROLLBACK, incident=7, before_us=now_us())
        self.assertLess(status, 0)
        self.assertTrue(text.startswith("restic ls: "), text)
        self.assertEqual((self.data / "a").read_text(), "newer", "it stays as it is")
        (self.vault / "away").rename(self.vault / "repository")
        self.backup()
        self.hear_until("it is well", lambda: self.state == "")
        for pack in (self.vault / "repository/data").rglob("*"):
            if pack.is_file():
                pack.chmod(0o600)
                pack.write_bytes(os.urandom(pack.stat().st_size))
        shutil.rmtree(self.vault / "cache")
        (self.vault / "cache").mkdir()
        status, text = self.do(RESTORE, number=1)
        self.assertLess(status, 0, text)
        self.assertEqual((self.data / "a").read_text(), "newer")

    def test_a_password_that_is_gone_is_told(self):
        self.start()
        (self.data / "a").write_text("good")
        self.backup()
        self.kill()
        (self.vault / "password").unlink()
        self.state = None
        self.start()
        self.hear_until("the state", lambda: self.state.startswith(f"{self.vault}/password is gone"))
        self.assertEqual(self.do(BACKUP), (-95, "this service has no vault that could be used"))

    def test_nonsense_from_the_engine_ends_the_link(self):
        self.start()
        self.part.engine.send(order(1, BACKUP, service=0)[:-8])
        wait_for("the link ends", lambda: self.closed())
        self.part.connect()
        self.state = None
        self.hear_until("it is ready", lambda: self.state is not None)
        self.assertEqual(self.do(BACKUP, service=3)[0], -95)

    def closed(self):
        try:
            return not self.part.engine.recv(65536)
        except ConnectionError:
            return True


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    if not shutil.which("restic") or subprocess.run(["restic", "version"], capture_output=True, check=False).returncode:
        sys.exit("there is no restic: make deps")
    unittest.main()
