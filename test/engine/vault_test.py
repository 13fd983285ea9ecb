"""A service's data as the real engine has it backed up and brought back: a part of test_engine.py. koboshi-vault is a double here;
the real one is tried in test/act/vault, both together in test/guest.
"""
import json
import os
import pathlib
import signal
import struct
import subprocess
import time

from fake_world import (BACKUP, CHANGE, FENCED, NOTICE, RESTORE, RETURN, ROLLBACK, SNAPSHOT, SUSPECT, SUSPEND, VAULT, VAULT_STATE, WAS_CHANGED,
                        WAS_RETURNED, config, notice, packet, text_field, wait_for)


def of_service(kind, text="", union=b""):
    return packet(NOTICE, struct.pack("=qIIII48s", time.monotonic_ns() // 1000, kind, 0, 0, 0, union) + bytes(32) + text_field(text))


def snapshot(number, ended_us, state=0):
    return of_service(SNAPSHOT, union=struct.pack("=QqqQII", number, ended_us - 1000000, ended_us, 2048, 3, state))


def change(number, incident, path, kind=WAS_CHANGED):
    return of_service(CHANGE, path, struct.pack("=QQQII", number, incident, 512, kind, 0))


class VaultTests:
    """Mixed into the engine's test case."""

    def start_with_vault(self, more="on_compromise: rollback"):
        pathlib.Path(self.folder / "koboshi.yaml").write_text(config(self.folder, f"    vault: {{path: /nowhere/vault, {more}}}\n"),
                                                              encoding="ascii")
        self.engine.start()
        self.engine.connect(VAULT)
        self.say(of_service(VAULT_STATE))
        return self.engine.await_state()

    def say(self, *packets):
        for one in packets:
            self.engine.actuators[VAULT].link.send(one)

    def take_over(self):
        """The active one shows another page: nothing but a takeover does that."""
        victim = self.roles()["active"]
        self.world.guests[victim].page = b"<h1>owned</h1>\n"
        return victim

    def vault(self):
        return self.ask("GET", "/v1/snapshots")[1]["vaults"][0]

    def test_the_data_goes_back_when_its_writer_stands_still(self):
        self.start_with_vault()
        before_us = time.time_ns() // 1000
        victim = self.take_over()
        order = self.world.await_order(ROLLBACK)
        after_us = time.time_ns() // 1000
        self.assertTrue(before_us <= order.before_us <= after_us, (before_us, order.before_us, after_us))
        with self.world.changed:
            frozen = [o.instance for o in self.world.orders[:self.world.orders.index(order)] if o.type == SUSPEND]
            self.assertIn(victim, frozen)
            self.assertEqual(self.world.gates.get(victim, FENCED), FENCED)
        story = self.await_closed(order.incident)
        self.assertIn("rolled-back", [step["step"] for step in story["steps"]])
        self.assertEqual(self.world.count(ROLLBACK), 1)

    def test_a_failure_costs_no_data(self):
        self.start_with_vault()
        self.world.guests[self.roles()["active"]].close_port()
        self.await_closed()
        self.assertEqual(self.world.count(ROLLBACK), 0)

    def test_to_keep_is_the_default(self):
        self.start_with_vault("every: 5s")
        self.take_over()
        self.await_closed()
        self.assertEqual(self.world.count(ROLLBACK), 0)

    def test_without_a_snapshot_somebody_is_told(self):
        self.start_with_vault()
        self.world.refused[ROLLBACK] = (-61, "there is no good snapshot from before the first evidence: the data stays as it is")
        victim = self.take_over()
        story = self.await_closed()
        said = next(step["text"] for step in story["steps"] if step["step"] == "not-rolled-back")
        self.assertRegex(said, rf"^the data is as kb-{victim} \(\w+\) left it: there is no good snapshot")

    def test_an_engine_that_is_killed_asks_again(self):
        self.start_with_vault()
        self.world.held[ROLLBACK] = True
        self.take_over()
        first = self.world.await_order(ROLLBACK)
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        del self.world.held[ROLLBACK]
        n = len(self.world.orders)
        self.engine.start()
        self.engine.connect(VAULT)
        again = self.world.await_order(ROLLBACK, after=n)
        self.assertEqual(again.incident, first.incident)
        self.assertLess(abs(again.before_us - first.before_us), 1000000, "the same moment")
        self.await_closed(first.incident)

    def test_what_koboshi_vault_tells_is_shown(self):
        self.start_with_vault()
        now_us = time.time_ns() // 1000
        self.say(snapshot(1, now_us - 9000000), snapshot(2, now_us - 1000000), change(5, 3, "readings.json"), change(6, 4, "x"))
        wait_for("two", lambda: len(self.vault()["snapshots"]) == 2)
        self.assertEqual([(s["number"], s["state"], s["files"], s["bytes"]) for s in self.vault()["snapshots"]],
                         [(1, "good", 3, 2048), (2, "good", 3, 2048)])
        self.say(snapshot(2, now_us - 1000000, SUSPECT), change(5, 3, "readings.json", WAS_RETURNED))
        wait_for("the second is suspect", lambda: self.vault()["snapshots"][1]["state"] == "suspect")
        self.assertEqual([(c["number"], c["kind"], c["path"]) for c in self.ask("GET", "/v1/data/3")[1]["changes"]],
                         [(5, "returned", "readings.json")])
        self.assertEqual(len(self.ask("GET", "/v1/data")[1]["changes"]), 2)
        self.assertEqual(self.ask("GET", "/v1/data/x")[0], 404)
        self.say(snapshot(1, now_us - 9000000, 2))
        wait_for("the first is gone", lambda: [s["number"] for s in self.vault()["snapshots"]] == [2])
        self.say(of_service(VAULT_STATE, "restic backup: the repository is locked"))
        status = self.engine.await_state("degraded")
        self.assertEqual(status["reasons"], ["vault of sensor: restic backup: the repository is locked"])
        self.engine.connect(VAULT)  # a new one tells all anew
        self.say(of_service(VAULT_STATE))
        self.engine.await_state()
        wait_for("nothing of before", lambda: self.vault()["snapshots"] == [])

    def test_what_it_holds_is_bounded(self):
        self.start_with_vault()
        now_us = time.time_ns() // 1000
        for number in range(1, 700):
            self.say(snapshot(number, now_us), change(number, 1, f"f{number}"))
        wait_for("the last", lambda: (all_ := self.ask("GET", "/v1/data")[1]["changes"]) and all_[-1]["number"] == 699)
        self.assertEqual(len(self.ask("GET", "/v1/data")[1]["changes"]), 512)
        self.assertEqual(len(self.vault()["snapshots"]), 256)

    def test_backup_restore_and_return_are_asked_for(self):
        self.start_with_vault()
        for path, body, kind, number in (("backup", {}, BACKUP, 0), ("backup", {"service": "sensor"}, BACKUP, 0),
                                         ("restore", {"snapshot": 3}, RESTORE, 3), ("return", {"change": 9}, RETURN, 9)):
            status, said = self.ask("POST", f"/v1/{path}", json.dumps(body))
            self.assertEqual((status, said["service"]), (202, "sensor"), said)
            self.assertEqual(self.world.await_order(kind, after=len(self.world.orders) - 1).number, number)
            asked = wait_for("it is done", lambda: (a := self.vault()["asked"])["done"] and a)
            self.assertEqual((asked["ok"], asked["text"]), (True, "done"))
        self.world.refused[RESTORE] = (-2, "there is no snapshot 4")
        cli = subprocess.run([os.environ["KOBOSHI_CLI"], "--socket", self.engine.socket_path, "restore", "4"], capture_output=True, text=True,
                             check=False)
        self.assertEqual((cli.returncode, cli.stderr), (1, "koboshi: there is no snapshot 4\n"))
        for path, body, wrong in (("restore", "{}", "the number of a snapshot or of a change is missing, or is none"),
                                  ("backup", '{"service": "other"}', "there is no such service, or it has no vault"),
                                  ("backup", '{"service": 7}', "'service' must be a service's name in quotes"),
                                  ("backup", '{"when": "now"}', 'a body is {"service": "NAME"}')):
            self.assertEqual(self.ask("POST", f"/v1/{path}", body), (400, {"error": wrong}))
        self.world.held[BACKUP] = True
        self.ask("POST", "/v1/backup", "{}")
        self.assertEqual(self.ask("POST", "/v1/backup", "{}")[0], 409)
        self.engine.connect(VAULT)
        asked = wait_for("it is over", lambda: (a := self.vault()["asked"])["done"] and a)
        self.assertFalse(asked["ok"])

    def test_without_a_vault_there_is_nothing_to_ask_for(self):
        self.start()
        self.assertEqual(self.ask("POST", "/v1/backup", "{}"), (400, {"error": "no service has a vault"}))
        self.assertEqual(self.ask("GET", "/v1/snapshots"), (200, {"vaults": []}))
        self.assertIsNone(self.engine.status()["services"][0]["vault"])
        self.engine.connect(VAULT)
        self.say(of_service(VAULT_STATE, "a lie"), notice(SNAPSHOT))
        self.engine.await_state()
