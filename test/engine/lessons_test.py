"""What incidents teach, here and to another device; and who is cut off because he was there each time. A part of test_engine.py."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

from fake_world import CONTAIN, CREATE, DESTROY, ENGINE_USER, LISTENING, STEER, SUSPEND, VARIANTS, wait_for

ATTACKER, POLLER = "198.51.100.66", "198.51.100.7"


def signed_bytes(lesson):
    return json.dumps({k: v for k, v in lesson.items() if k != "signature"}, sort_keys=True, separators=(",", ":")).encode()


def utc(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


class LessonTests:
    """Mixed into the engine's test case."""

    def lessons(self):
        return self.ask("GET", "/v1/lessons")[1]["lessons"]

    def await_lesson(self, incident=1):
        return wait_for(f"the lesson of incident {incident}",
                        lambda: next((x for x in self.lessons() if x["lesson"]["incident"] == incident), None))["lesson"]

    def deface(self, number):
        self.world.guests[number].page = b"<h1>owned</h1>\n"

    def openssl(self, *words):
        return subprocess.run(["openssl", "pkeyutl", "-rawin", *words], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)

    def sign(self, lesson, **changes):
        """As whoever has the first device's key could."""
        lesson = {**lesson, **changes}
        (self.folder / "bytes").write_bytes(signed_bytes(lesson))
        self.assertEqual(self.openssl("-sign", "-inkey", "first.key", "-in", "bytes", "-out", "signature").returncode, 0)
        return {**lesson, "signature": (self.folder / "signature").read_bytes().hex()}

    def take(self, lesson):
        return self.ask("POST", "/v1/lessons", lesson if isinstance(lesson, str) else json.dumps(lesson))

    def test_an_incident_ends_in_a_signed_lesson(self):
        self.start()
        victim = self.roles()["active"]
        variant = list(VARIANTS)[self.world.guests[victim].variant]
        self.deface(victim)
        lesson = self.await_lesson()
        layers = ("kernel", "libc", "server", "runtime")
        self.assertEqual((lesson["verdict"], lesson["finding"], lesson["vantage"], lesson["rung"]),
                         ("compromised", "wrong-content", "path", "replace"))
        self.assertEqual(lesson["victim"], [f"{layer} {part}" for layer, part in zip(layers, VARIANTS[variant])])
        self.assertEqual(lesson["survivor"], [f"{layer} {part}" for layer, part in zip(layers, VARIANTS[self.story()["active"]["variant"]])])
        step = self.await_closed()["steps"][-1]
        avoided = ", ".join(part for part in lesson["victim"] if not part.startswith("libc "))
        self.assertEqual((step["step"], step["text"]), ("lesson", f"learnt: avoid {avoided}; what worked: replace"))
        ledger = self.folder / "state/ledger"
        self.assertEqual((os.stat(ledger / "lesson.key").st_mode & 0o777, os.stat(ledger / "lesson.key").st_uid), (0o600, ENGINE_USER))
        (self.folder / "bytes").write_bytes(signed_bytes(lesson))
        (self.folder / "signature").write_bytes(bytes.fromhex(lesson["signature"]))
        done = self.openssl("-verify", "-pubin", "-inkey", ledger / "lesson.pub", "-in", "bytes", "-sigfile", "signature")
        self.assertIn(b"Verified Successfully", done.stdout)
        self.assertEqual(self.take(lesson), (200, {"origin": lesson["origin"], "incident": 1, "taken": False}))
        self.engine.stop()
        self.assertEqual(self.rows("SELECT * FROM verdict"), [])

    def test_a_planned_switch_teaches_nothing(self):
        self.start()
        self.assertEqual(self.ask("POST", "/v1/switch")[0], 202)
        self.await_closed()
        self.engine.await_state()
        self.assertEqual(self.lessons(), [])

    def test_a_killed_engines_successor_learns_the_same(self):
        self.start()
        victim = self.roles()["active"]
        self.world.held[SUSPEND] = True
        self.deface(victim)
        self.world.await_order(SUSPEND, lambda o: o.instance == victim)
        wait_for("the fence is written down", lambda: "link-down" in [s["step"] for s in self.story().get("steps", [])])
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        del self.world.held[SUSPEND]
        self.engine.start()
        lesson = self.await_lesson()
        self.assertEqual((lesson["verdict"], lesson["finding"], lesson["vantage"]), ("compromised", "wrong-content", "path"))
        self.assertEqual(len(lesson["victim"]), 4)

    # --- faster the second time

    def await_speech(self, number):
        wait_for("its agent to be heard", lambda: self.of(number)["agent"]["state"] == "speaks")

    def listen(self, number):
        self.world.guests[number].agent.tell(LISTENING, "tcp 4444", 4444)

    def steered_from(self, number, begun):
        self.world.await_order(STEER, lambda o: o.victim == number)
        return (time.monotonic() - begun) * 1000

    def test_the_second_attack_of_a_kind_needs_one_finding_less(self):
        self.start()
        victim = self.roles()["active"]
        self.await_speech(victim)
        begun = time.monotonic()
        self.listen(victim)
        wait_for("the first finding", lambda: self.found(victim, "listening"))
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])  # alone it is no verdict
        self.world.guests[victim].answers["/api/reading"] = (200, b'{"value": 99}')  # and of two that differ nobody knows which
        first_ms = self.steered_from(victim, begun)
        lesson = self.await_lesson()
        self.assertEqual({lesson["finding"], lesson["beside"]}, {"listening", "differs"})
        self.engine.await_state()
        self.engine.signal(signal.SIGKILL)  # it is no memory of one process
        self.engine.wait()
        self.engine.start()
        self.engine.await_state()
        victim = self.roles()["active"]
        self.await_speech(victim)
        begun = time.monotonic()
        self.listen(victim)
        second_ms = self.steered_from(victim, begun)
        story = self.await_closed(2)
        self.assertIn("that alone is enough, as it was half of what convicted in incident 1", story["cause"])
        print(f"  first attack: two findings, steered {first_ms:.0f} ms after it began; second: one finding, {second_ms:.0f} ms", file=sys.stderr)
        self.engine.await_state()
        third = self.roles()["active"]
        self.await_speech(third)
        self.listen(third)
        wait_for("the finding", lambda: self.found(third, "listening"))
        self.assertEqual(len(self.ask("GET", "/v1/incidents")[1]["incidents"]), 2)  # it is spent
        self.engine.signal(signal.SIGKILL)  # and stays so
        self.engine.wait()
        self.engine.start()
        self.engine.await_state()
        self.await_speech(third)
        self.listen(third)
        wait_for("the finding again", lambda: self.found(third, "listening"))
        self.assertEqual(len(self.ask("GET", "/v1/incidents")[1]["incidents"]), 2)
        self.assertEqual(self.await_lesson(2)["beside"], "")

    # --- another device

    def become_another_device(self, trusts=True):
        """Same images, nothing that was learnt."""
        self.reboot()
        shutil.copy(self.folder / "state/ledger/lesson.pub", self.folder / "first.pub")
        shutil.copy(self.folder / "state/ledger/lesson.key", self.folder / "first.key")
        shutil.move(self.folder / "state/ledger", self.folder / "first-ledger")
        (self.folder / "state/ledger").mkdir()
        os.chown(self.folder / "state/ledger", ENGINE_USER, ENGINE_USER)
        if trusts:
            self.configure(("device: testbed", f"device: other\nlessons: {{trust: [{self.folder}/first.pub]}}"))
        self.world.numbers.clear()

    def first_devices_lesson(self, trusts=True):
        self.start()
        begun = time.monotonic()
        victim = self.roles()["active"]
        self.deface(victim)
        self.first_ms = self.steered_from(victim, begun)
        lesson = self.await_lesson()
        self.become_another_device(trusts)
        self.start()
        self.assertEqual(self.lessons(), [])
        return lesson

    def suspect(self):
        return {v["name"] for v in self.ask("GET", "/v1/variants")[1]["variants"]
                if any(s["value"] >= 0.75 and s["component"].startswith("server ") for s in v["suspicion"])}

    def test_what_one_device_learnt_another_need_not_suffer(self):
        lesson = self.first_devices_lesson()
        victim = "amber"
        self.assertEqual(lesson["victim"][2], "server " + VARIANTS[victim][2])
        before = self.roles()
        variant = {i["number"]: i["variant"] for i in self.instances()}
        self.assertEqual(variant[before["active"]], victim)  # the first of the configuration, and what the attacker can take over
        self.assertEqual(self.suspect(), set())
        orders, begun = len(self.world.orders), time.monotonic()
        self.assertEqual(self.take(lesson), (202, {"origin": lesson["origin"], "incident": 1, "taken": True}))
        steer = self.world.await_order(STEER, after=orders)
        print(f"  first device: steered {self.first_ms:.0f} ms after the attack; second: {(time.monotonic() - begun) * 1000:.0f} ms "
              f"after the lesson, before any attack", file=sys.stderr)
        self.assertEqual((steer.instance, steer.victim), (before["standby"], 0))  # planned: no request fails
        story = self.await_closed()
        self.assertEqual((story["verdict"], story["victim"]["variant"]), ("planned", victim))
        self.assertIn("is made of what fell elsewhere, as a lesson says, and hands over to", story["cause"])
        self.assertEqual(self.suspect(), {victim})
        self.engine.await_state()
        wait_for("nobody else to be made of it",
                 lambda: victim not in {i["variant"] for i in self.instances() if i["role"] in ("active", "standby")})
        wait_for("rest", lambda: sorted(i["state"] for i in self.instances()) == ["paused", "ready", "ready"])
        self.assertEqual(self.suspect(), {victim})
        # the same once more, and in another life of the engine, is nothing new
        self.assertEqual(self.take(lesson)[1]["taken"], False)
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        orders = len(self.world.orders)
        self.start()
        self.assertEqual(self.take(lesson)[1]["taken"], False)
        self.assertEqual([(x["own"], x["lesson"]) for x in self.lessons()], [(False, lesson)])
        self.assertEqual(self.suspect(), {victim})
        self.engine.stop()
        self.assertEqual([o for o in self.world.orders[orders:] if o.type == STEER], [])

    def test_what_is_no_good_lesson_is_refused_in_one_sentence(self):
        lesson = self.first_devices_lesson()
        self.sign(lesson)
        for bad, code, wanted in (
                ({**lesson, "device": "pump"}, 409, "lesson 1 of pump: its signature does not fit: it was changed, or another key signed it"),
                ({**lesson, "signature": "00" * 64}, 409, "its signature does not fit"),
                ({**lesson, "origin": "0" * 32}, 409, f"key {'0' * 32} is not trusted: name its file in 'lessons: trust'"),
                (self.sign(lesson, learnt=utc(600), expires=utc(86400)), 409, "it is from the future"),
                (self.sign(lesson, learnt=utc(-86400), expires=utc(-60)), 409, "it expired at"),
                (self.sign(lesson, format=2), 400, "this lesson is of format 2, this koboshi knows format 1"),
                ({k: v for k, v in lesson.items() if k != "signature"}, 400, "this lesson is not signed"),
                ({**lesson, "more": 1}, 400, "'more' is not known"),
                (json.dumps(lesson)[:-1] + ',"incident":2}', 400, "duplicate object key"),
                ("[" * 3000, 400, "it is not JSON"), ("", 400, "it is not JSON"), ("nonsense", 400, "it is not JSON"), ("[]", 400, "it is no JSON object"),
                (json.dumps(lesson).ljust(3841), 400, "bytes, a lesson has at most 3840"), (" " * 5000, 413, "at most 4096 bytes")):
            got, answer = self.take(bad)
            self.assertEqual(got, code, answer)
            self.assertIn(wanted, answer["error"])
        self.assertEqual(self.lessons(), [])
        self.assertEqual(self.suspect(), set())
        self.assertEqual(self.take(self.sign(lesson, learnt=utc(200), expires=utc(86400)))[0], 202)  # clocks differ a little

    def test_a_key_that_cannot_be_read_is_told_and_trusted_by_nobody(self):
        lesson = self.first_devices_lesson(trusts=False)
        self.assertIn("is not trusted", self.take(lesson)[1]["error"])
        self.engine.stop()
        self.configure(("device: testbed", "device: other\nlessons: {trust: [/none.pub]}"))
        self.start()
        self.assertIn("/none.pub: cannot open it", self.ask("GET", "/v1/lessons")[1]["problem"])
        self.engine.stop()
        (self.folder / "state/ledger/lesson.key").write_text("nonsense")
        self.start()
        answer = self.ask("GET", "/v1/lessons")[1]
        self.assertEqual((answer["key"], answer["trusted"]), (None, 0))
        self.assertIn("lesson.key: is no private key in PEM", answer["problem"])
        self.deface(self.roles()["active"])  # it lives without lessons
        self.await_closed()
        self.engine.await_state()
        self.assertEqual(self.lessons(), [])

    def test_the_command_line_takes_lessons_along(self):
        cli = os.environ.get("KOBOSHI_CLI")
        if not cli:
            self.skipTest("there is no command line")

        def koboshi(*words):
            return subprocess.run([cli, "--socket", self.engine.socket_path, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        self.start()
        self.deface(self.roles()["active"])
        lesson = self.await_lesson()
        exported = koboshi("lessons", "export")
        self.assertEqual(json.loads(exported.stdout), lesson)
        self.become_another_device()
        self.start()
        file = self.folder / "lessons.jsonl"
        file.write_text(exported.stdout + "nonsense\n" + exported.stdout)
        done = koboshi("lessons", "import", str(file))
        self.assertEqual((done.returncode, done.stdout), (1, "1 taken, 1 known already, 1 refused\n"))
        self.assertIn(f"koboshi: {file}:2: this is no lesson: it is not JSON", done.stderr)
        self.assertIn("compromised (wrong-content)", koboshi("lessons").stdout)

    # --- who was there each time

    def moments(self):
        return self.ask("GET", "/v1/flows")[1]["moments"][0]

    def attack(self, number):
        """The attacker comes, and a guest falls."""
        victim = self.roles()["active"]
        self.world.flow(victim, ATTACKER)
        wait_for("both flows", lambda: self.ask("GET", f"/v1/flows/kb-{victim}")[1]["open"] == 2)
        self.fell(victim)
        wait_for("the fall", lambda: self.moments()["falls"] == number)

    def test_who_was_there_each_time_is_cut_off(self):
        self.configure(("brake: {falls: 0}", "brake: {falls: 3, within: 30s, pause: 3s}"))
        self.world.flows_wanted = True
        self.start()
        self.world.flow(self.roles()["active"], POLLER)  # who polls is there all the time
        wait_for("calm moments", lambda: self.moments()["calm"] >= 8)
        for number in (1, 2, 3):
            self.attack(number)
            if number < 3:
                self.await_closed(number)
                self.engine.await_state()
                self.world.flow(self.roles()["active"], POLLER)
        order = self.world.await_order(CONTAIN)
        self.assertEqual((order.source, order.prefix, order.flag, order.incident), (ATTACKER, 32, 1, 3))
        row = self.await_containment(1, "in-force")
        self.assertEqual((row["subject"], row["who"], row["incident"]), (f"source {ATTACKER}/32", "koboshi", 3))
        self.assertRegex(row["reason"], "^it was there at 3 of 3 falls of sensor and at 0 of [0-9]+ other moments; incident 3$")
        reasons = " ".join(self.engine.await_state("alarm")["reasons"])
        self.assertIn("who was there each time is cut off: koboshi containments", reasons)
        story = self.await_closed(3)
        cut = next(step for step in story["steps"] if step["step"] == "cut")
        self.assertIn(f"source {ATTACKER}/32 is cut off for 10 min (containment 1)", cut["text"])
        self.assertEqual(self.await_lesson(3)["sources"], [f"source {ATTACKER}/32"])
        self.assertEqual(self.await_lesson(1)["sources"], [])
        self.assertEqual(self.world.count(CONTAIN), 1)  # who polls was at each fall, and at all other moments

    def test_nobody_is_cut_off_where_that_is_not_wanted(self):
        self.configure(("brake: {falls: 0}", "brake: {falls: 3, within: 10s, pause: 3s, cut: no}"))
        self.world.flows_wanted = True
        self.start()
        for number in (1, 2, 3):
            self.fell(self.roles()["active"])
            self.await_closed(number)
        self.assertEqual(self.moments(), {"service": "sensor", "calm": 0, "falls": 0})
        self.assertEqual(self.world.count(CONTAIN), 0)
        self.assertGreaterEqual(self.world.count(CREATE), 6)
        self.assertGreaterEqual(self.world.count(DESTROY), 3)
