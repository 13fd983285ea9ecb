"""A ledger on a disk that is read-only, that answers with errors, that lost the end of what was written, or a page of it: the service
goes on, the status says it in one sentence, nothing is built or destroyed for it, and all is well when the disk is. A part of
test_engine.py, which has the full disk and the ledger that cannot be opened."""
import contextlib
import errno
import os
import shutil
import signal
import sqlite3
import struct
import subprocess

from fake_world import CREATE, DESTROY, STEER, wait_for

PAGE_SIZE = 4096
FRAME = 24 + PAGE_SIZE  # of SQLite's write-ahead log, behind a head of 32 bytes


class LedgerTests:
    """Mixed into the engine's test case."""

    def ledger(self, suffix=""):
        return self.folder / f"state/ledger/ledger.db{suffix}"

    def await_word(self, *words):
        """The one sentence of the status about the ledger."""
        def look():
            status = self.engine.status()
            said = [r for r in status["reasons"] if r.startswith("ledger: ")]
            return said if len(said) == 1 and all(word in said[0] for word in words) else None

        said = wait_for(f"a word about the ledger with {words}", look)[0]
        self.engine.await_state("degraded")  # once somebody is known to serve
        self.assertNotIn("\n", said)
        return said

    def kill(self):
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()

    def falls_unrecorded(self):
        """The active one: another serves at once, and nothing is built or destroyed meanwhile."""
        before, made = self.roles(), self.world.count(CREATE, DESTROY)
        self.world.guests[before["active"]].close_port()
        self.world.await_order(STEER, lambda o: o.victim == before["active"])
        wait_for("the spare stands by", lambda: self.roles().get("standby") == before["spare"])
        self.assertEqual(self.world.target, before["standby"])
        self.assertEqual(self.world.count(CREATE, DESTROY), made)
        return before["active"]

    def is_whole_again(self, fallen):
        self.engine.await_state()
        wait_for("the fallen one is gone", lambda: fallen not in self.world.guests and len(self.world.guests) == 3)
        self.engine.await_state()

    def start_on_a_disk(self):
        """One that break_disk() breaks."""
        module = os.environ.get("FAILING_DISK_MODULE")
        if not module:
            self.skipTest("the module that breaks the disk is not there")
        shutil.copy(module, self.folder / "failing-disk.so")  # the build folder may be closed to the engine's user
        self.disk = self.folder / "disk"
        self.break_disk(0)
        self.disk.chmod(0o666)
        self.engine.environment = {"LD_PRELOAD": str(self.folder / "failing-disk.so"), "FAILING_DISK": str(self.disk)}
        self.start()

    def break_disk(self, error, writes_left=0):
        with open(self.disk, "r+b" if self.disk.exists() else "wb", buffering=0) as file:
            file.write(struct.pack("=ii", writes_left, error))

    def test_a_disk_that_answers_with_errors_stops_building_and_nothing_else(self):
        self.start_on_a_disk()
        for error, words in ((errno.EIO, ("disk I/O error",)), (errno.ENOSPC, ("the disk is full",))):
            with self.subTest(error=errno.errorcode[error]):
                self.break_disk(error)
                fallen = self.falls_unrecorded()
                self.await_word("ledger.db", *words)
                self.break_disk(0)
                self.is_whole_again(fallen)

    def test_a_disk_that_breaks_at_any_write_of_an_incident(self):
        """The steer comes, whichever write is the first that fails; and what was not recorded was not done."""
        self.start_on_a_disk()
        for writes in range(0, 40, 5):
            with self.subTest(writes=writes):
                before = self.roles()
                self.break_disk(errno.EIO, writes)
                self.world.guests[before["active"]].close_port()
                self.world.await_order(STEER, lambda o, v=before["active"]: o.victim == v)
                self.await_word("ledger.db")
                made = self.world.count(CREATE, DESTROY)
                self.assertEqual(self.world.target, before["standby"])
                wait_for("the spare stands by", lambda s=before["spare"]: self.roles().get("standby") == s)
                self.assertEqual(self.world.count(CREATE, DESTROY), made)
                self.break_disk(0)
                self.is_whole_again(before["active"])

    def test_a_read_only_disk_is_said_and_waited_for(self):
        self.small_disk()
        self.start()
        state = str(self.folder / "state/ledger")
        before = self.roles()
        self.kill()
        subprocess.run(["mount", "-o", "remount,ro", state], check=True)
        self.engine.start()
        self.await_word("it is read-only")
        wait_for("all three are known", lambda: self.roles() == before)
        fallen = self.falls_unrecorded()
        subprocess.run(["mount", "-o", "remount,rw", state], check=True)
        self.assertEqual(self.engine.wait(), 0)  # it ends to begin with the real one
        self.engine.start()
        self.is_whole_again(fallen)

    def test_what_was_written_last_may_be_torn(self):
        """At each of the last frames, in its head and in its middle: the engine goes on with what is left, and builds nobody twice."""
        before = {i["role"]: i["number"] for i in self.instances(self.start())}
        for back in range(1, 7):
            for into in (0, 7, FRAME // 2):
                self.kill()
                wal = self.ledger("-wal")
                frames = max(0, (wal.stat().st_size - 32) // FRAME) if wal.exists() else 0
                if frames >= back:
                    os.truncate(wal, 32 + (frames - back) * FRAME + into)
                with self.subTest(back=back, into=into, frames=frames):
                    self.engine.start()
                    self.assertEqual(self.engine.await_state()["reasons"], [])
                    wait_for("three of them", lambda: len(self.world.guests) == 3)
                    now = self.roles()  # who had only just fallen asleep may have to be built again
                    self.assertEqual((now["active"], now["standby"], self.world.target), (before["active"], before["standby"], before["active"]))
        victim = before["active"]
        self.world.guests[victim].close_port()  # and numbers are new ones yet: the world looks
        wait_for("another in its place", lambda: victim not in self.world.guests and len(self.world.guests) == 3)
        self.engine.await_state()

    def test_torn_within_an_incident_it_is_finished(self):
        """The last that was written about it is lost with the engine: the fence is there to be read."""
        for back in (1, 3, 6):
            with self.subTest(back=back):
                self.begin_anew()
                victim = self.roles()["active"]
                self.world.held[DESTROY] = True
                self.world.guests[victim].close_port()
                self.world.await_order(DESTROY, lambda o, v=victim: o.instance == v)
                self.kill()
                wal = self.ledger("-wal")
                frames = (wal.stat().st_size - 32) // FRAME
                os.truncate(wal, 32 + (frames - back) * FRAME + 99)
                del self.world.held[DESTROY]
                self.engine.start()
                wait_for("its end", lambda v=victim: v not in self.world.guests and len(self.world.guests) == 3)
                self.engine.await_state()
                self.assertEqual([s["phase"] for s in self.ask("GET", "/v1/incidents")[1]["incidents"]], ["closed"])

    def test_a_flipped_page_costs_history_and_nobody(self):
        self.start()
        before, made = self.roles(), self.world.count(CREATE, DESTROY)
        self.engine.stop()
        bytes_ = bytearray(self.ledger().read_bytes())
        page = next(at for at in range(PAGE_SIZE, len(bytes_), PAGE_SIZE) if any(bytes_[at:at + PAGE_SIZE]))
        bytes_[page:page + PAGE_SIZE] = bytes(0xff ^ byte for byte in bytes_[page:page + PAGE_SIZE])
        self.ledger().write_bytes(bytes_)
        self.engine.start()
        self.await_word("ledger.db", "damaged")
        wait_for("all three are known", lambda: self.roles() == before)
        self.assertEqual(self.world.count(CREATE, DESTROY), made)
        kept = list(self.ledger().parent.glob("ledger.db.damaged-*"))
        self.assertEqual([file.read_bytes() for file in kept if "-wal" not in file.name], [bytes_])
        self.world.guests[before["active"]].close_port()
        self.await_closed(self.newest())
        wait_for("another in its place", lambda: before["active"] not in self.world.guests and len(self.world.guests) == 3)

    def test_a_number_whose_address_somebody_has_is_not_given_out(self):
        """Addresses come round again after thirteen numbers here; the first one is reserved before anybody is known."""
        self.start()
        before = self.roles()
        self.assertEqual(sorted(before.values()), [1, 2, 3])
        self.engine.stop()
        with contextlib.closing(sqlite3.connect(self.ledger(), isolation_level=None)) as ledger:
            ledger.execute("UPDATE counter SET value = 13")
        self.engine.start()
        wait_for("all three are known", lambda: self.roles() == before)
        self.world.guests[before["active"]].close_port()
        self.await_closed()
        self.assertEqual(self.world.numbers, [1, 2, 3, 17])

    def newest(self):
        return wait_for("an incident", lambda: self.ask("GET", "/v1/incidents")[1]["incidents"])[0]["number"]
