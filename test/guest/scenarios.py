#!/usr/bin/env python3
"""Scenario tests on real guests: what must be true after each fault, in which order things happened, and that nothing leaks.

No test here looks at how long something took: figures are the benchmark's business. Run by test/guest/run inside a world.
"""
import hashlib
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
import traceback
from typing import Any, Callable, Optional

import rotated
from koboshi_lab import api, clients, endure, footprint, guest, layout, network, scene, senses, shell, soak
from koboshi_lab.faults import FAULTS, PLANNED

import wanted_image

Json = dict[str, Any]
TESTS: dict[str, Callable[[clients.Clients], None]] = {}


def check(true: object, what: str) -> None:
    if not true:
        raise AssertionError(what)


def test(function: Callable) -> Callable:
    TESTS[function.__name__.replace("_", "-")] = function
    return function


# --- what holds after every fault -----------------------------------------------------------------------------------------


def ordered(story: Json) -> None:
    names = ("first_evidence_us", "verdict_us", "steered_us", "standby_us", "spare_us")
    times = {name: story.get(name) for name in names}
    check(all(times.values()), f"every moment of incident {story['number']} is known: {times}")
    decided = [times["first_evidence_us"], api.decided_us(story), *list(times.values())[2:]]
    check(decided == sorted(decided), f"evidence, verdict or doubt, steered, standby, spare come in this order: {decided}, {times}")
    check(story.get("steps"), "the incident tells its steps")
    moments = [step["ms"] for step in story["steps"]]
    check(moments == sorted(moments), f"steps are told in order: {moments}")


def gone(victim: int) -> None:
    """The victim has no process, no tap, no place in the status."""
    def look() -> bool:
        taps = network.snapshot()["links"]
        return victim not in scene.remaining_guests() and f"kb{victim}" not in taps

    shell.wait_for(f"the end of guest {victim}, its tap included", look, 20, 0.1)
    check(victim not in scene.numbers(api.call("GET", "/v1/status")), f"instance {victim} is not listed as living")


def served_by_another(played: scene.Scene) -> None:
    victim, active = played.victim, api.active(played.after)
    check(active["number"] != victim["number"], "another instance serves")
    check(active["variant"] != victim["variant"], f"of another variant than {victim['variant']}")
    check(not played.report()["shared_components"], f"sharing nothing: {played.report()['shared_components']}")
    check(api.is_whole(played.after), "active, standby and spare are there and proven")


def mended(played: scene.Scene) -> None:
    """The victim proved itself again and is idle, and it is the same guest. Nobody was built for it: if another one went since, a
    better one took its place, because of whom the service points at now."""
    victim, after = played.victim["number"], played.after
    steps = [step for story in played.incidents for step in story["steps"]]
    bettered = {int(re.match(r"kb-(\d+) ", step["text"])[1]) for step in steps  # type: ignore[index]
                if step["step"] == "retired" and "a better one took its place" in step["text"]}
    one = next((i for i in api.service_of(after)["instances"] if i["number"] == victim), {})
    check(one.get("role") in ("standby", "spare"), f"instance {victim} stands by or sleeps: {one}")
    check(scene.numbers(played.before) - scene.numbers(after) <= bettered,
          f"the same instances are there: {scene.numbers(played.before)}, {scene.numbers(after)}; bettered: {bettered}")
    check(victim in scene.remaining_guests(), "its guest has a process")


def one_fell(played: scene.Scene, verdicts: tuple[str, ...]) -> Json:
    check(len(played.incidents) == 1, f"one incident came of it: {[(i['number'], i['victim'], i['cause']) for i in played.incidents]}")
    story = played.incident
    check(story["verdict"] in verdicts, f"the verdict is one of {verdicts}: {story['verdict']}")
    check(story["victim"]["number"] == played.victim["number"], "the incident names the victim")
    ordered(story)
    served_by_another(played)
    return story


def fell(played: scene.Scene, verdicts: tuple[str, ...]) -> None:
    """All that holds when the active instance was struck and koboshid lived."""
    one_fell(played, verdicts)
    gone(played.victim["number"])


# --- the faults -------------------------------------------------------------------------------------------------------------


@test
def three_variants_in_three_roles(_asking: clients.Clients) -> None:
    status = api.wait_whole()
    held = [api.holder(status, role) for role in ("active", "standby", "spare")]
    check(len({one["variant"] for one in held}) == 3, "each role is held by another variant")
    for one in held:
        check(set(api.LAYERS) <= set(one["components"]), f"instance {one['number']} names its components")
    check(not api.shared(held[0], held[1]), "active and standby share no kernel, server or runtime")


@test
def an_image_that_is_wanted_is_used_when_it_is_there(asking: clients.Clients) -> None:
    """Before any attack: what is suspect would be wanted less."""
    if why := wanted_image.missing():
        raise Skipped(why)
    wanted_image.play(asking, check)


def fault_test(name: str, *verdicts: str) -> None:
    def play(asking: clients.Clients) -> None:
        fell(scene.play(asking, FAULTS[name]), verdicts)

    TESTS[name] = play


MENDED: dict[int, int] = {}  # so often, by number


def one_that_may_be_mended() -> None:
    """Serves: whoever falls for the third time within a few minutes does so by no chance, and is not mended."""
    active, first = api.active(api.wait_whole())["number"], api.newest_incident() + 1
    if MENDED.get(active, 0) >= 2:
        FAULTS["kill-guest"].strike(active)
        scene.wait_closed(first, active)
        api.wait_whole()


def struck_and_mended(asking: clients.Clients, name: str) -> tuple[scene.Scene, Json]:
    """A fault that looks innocent: steered away from as any other, and then mended."""
    api.wait_whole()
    for role in ("active", "standby"):
        await_heard(role)
    one_that_may_be_mended()
    played = scene.play(asking, FAULTS[name])
    MENDED[played.victim["number"]] = MENDED.get(played.victim["number"], 0) + 1
    story = one_fell(played, ("failed",))
    mended(played)
    return played, story


def mend_test(name: str, *rungs: str) -> None:
    """By the last of `rungs`."""
    def play(asking: clients.Clients) -> None:
        played, story = struck_and_mended(asking, name)
        tried = [step["text"].split("(")[-1].split(")")[0] for step in story["steps"] if step["step"] == "mending"]
        check(tried == list(rungs), f"these were tried: {tried}: {[step['text'] for step in story['steps']]}")
        check([step["step"] for step in story["steps"]].count("mended") == 1, "the last one helped")
        check(not story["evidence"], f"of who comes back nothing is kept: {story['evidence']}")
        check("refused" not in played.view.kinds, f"nobody was refused a connection: {played.view.kinds}")
        moments = {step["step"]: step["ms"] for step in story["steps"]}
        print(f"# {name}: steered {played.after_ms('steered_us')} ms after the fault, mended {moments['mended']:.0f} ms after the first evidence", flush=True)

    TESTS[name] = play


mend_test("close-port", "restart")
mend_test("hang", "restart")
mend_test("kill-app", "restart")
mend_test("panic", "reboot")
mend_test("drop", "restart", "reboot")
fault_test("kill-guest", "failed")
fault_test("scan", "compromised")
mend_test("watchdog", "reboot")


def evidence_kept(story: Json, victim: int) -> None:
    """`koboshi evidence` names all kinds, and each file is what the ledger says of it."""
    number = story["number"]
    listed = json.loads(shell.run(layout.CLI, "evidence", number, "--json"))["evidence"]
    check({f"kb-{victim}.{kind}" for kind in ("flows", "console.log", "memory")} <= {row["file"] for row in listed}, f"all kinds are listed: {listed}")
    shown = shell.run(layout.CLI, "evidence", number)
    for row in listed:
        path = pathlib.Path(row["path"])
        check(path.parent == layout.STATE / "evidence" / str(number), f"below the state folder: {path}")
        with open(path, "rb") as file:
            check(hashlib.file_digest(file, "sha256").hexdigest() == row["sha256"], f"{path} is what was hashed")
        check(path.stat().st_size == row["bytes"] and row["dropped"] is None and not row["open"], f"as it is: {row}")
        check(row["file"] in shown and row["sha256"] in shown, f"the table has {row['file']}: {shown}")
    check({row["file"] for row in story["evidence"]} == {row["file"] for row in listed}, f"the story names it: {story['evidence']}")


@test
def tamper(asking: clients.Clients) -> None:
    played = scene.play(asking, FAULTS["tamper"])
    fell(played, ("compromised",))
    evidence_kept(api.incident(played.incident["number"]), played.victim["number"])


@test
def what_a_victim_could_read_is_refused_when_another_answers(asking: clients.Clients) -> None:
    rotated.play(asking)


@test
def touch_decoy(asking: clients.Clients) -> None:
    played = scene.play(asking, FAULTS["touch-decoy"])
    fell(played, ("compromised",))
    story = played.incident
    check("decoy" in story["cause"], f"for what it did: {story['cause']}")
    told = api.call("GET", "/v1/status")["decoys"]
    check(told["touches"] > 0, f"it was told of: {told}")  # the fence is often quicker than the tarpit
    shell.wait_for("the end of its connection", lambda: api.call("GET", "/v1/status")["decoys"]["held"] == 0, 60, 0.5)
    found_ms = played.after_ms("first_evidence_us")
    print(f"# touch to finding {found_ms} ms, to verdict {played.after_ms('verdict_us')} ms, steered {played.after_ms('steered_us')} ms")


def findings(number: int) -> set[str]:
    return {found["finding"] for found in senses.findings(number)}


def suspect_and_goes_on(asking: clients.Clients, fault: str, finding: str) -> None:
    """The standby, not the active one: it shall be seen that nothing else comes of it."""
    before, first = api.wait_whole(), api.newest_incident()
    struck = api.holder(before, "standby")["number"]
    if finding != "differs":  # that is measured by the other instance, not by what is usual
        senses.await_learnt(struck)
    if finding == "unusual":
        senses.await_flows_learnt(struck)
    check(finding not in findings(struck), "nothing unusual before")
    FAULTS[fault].strike(struck)
    shell.wait_for("the finding", lambda: finding in findings(struck), 30, 0.1)
    why = api.call("GET", f"/v1/why/kb-{struck}")
    check(why["verdict"] == "healthy" and api.newest_incident() == first, f"a weak finding is no verdict: {why}")
    FAULTS["kill-guest"].strike(struck)  # the next tests want one to which nothing was done
    scene.wait_closed(first + 1, 0)
    asking.wait_good(shell.now_us(), 10)
    gone(struck)


for struck_by, found in (("mine", "busy"), ("flood", "flooding"), ("write", "writing"), ("change-api", "differs"),
                         ("call-out", "unusual")):
    TESTS[struck_by] = lambda asking, fault=struck_by, finding=found: suspect_and_goes_on(asking, fault, finding)


@test
def of_three_that_are_asked_the_same_the_outvoted_one_falls(asking: clients.Clients) -> None:
    """Its page and its answers to the challenge are right, and the manifest does not know what its application should answer."""
    three = ("active", "standby", "standby")
    before = scene.configured(lambda text: text.replace("standby: 1", "standby: 2").replace("spare: 1", "spare: 0"), three)
    for one in api.service_of(before)["instances"]:  # all variants are awake here: each has the driver, and nothing armed it
        status, said = guest.ask(one["number"], "modprobe i6300esb && test -c /dev/watchdog; code=$?; rmmod i6300esb; (exit $code)")
        check(status == 0, f"{one['variant']} has a watchdog device: {said}")
    first = api.newest_incident() + 1
    struck = api.active(before)["number"]
    rounds = api.service_of(before)["peer"]["rounds"]
    shell.wait_for("each path asked once", lambda: api.service_of(api.call("GET", "/v1/status"))["peer"]["rounds"] > rounds + 3, 60, 0.2)
    check(api.newest_incident() < first, "nobody fell before")
    FAULTS["change-api"].strike(struck)
    shell.wait_for("an incident", lambda: api.newest_incident() >= first, 60, 0.05)
    stories = scene.wait_closed(first, 0)
    check(stories[0]["victim"]["number"] == struck and stories[0]["verdict"] == "compromised", f"the outvoted one fell: {stories[0]}")
    check("answered otherwise than the other instances" in stories[0]["cause"], f"for what it did: {stories[0]['cause']}")
    asking.wait_good(shell.now_us(), 10)
    gone(struck)
    scene.configured(lambda text: text, scene.ROLES)
    api.wait_whole()


@test
def the_second_attack_of_a_kind_is_met_by_what_the_first_taught(asking: clients.Clients) -> None:
    """Two findings, neither of which is enough, convict together; the next time the first of them is enough."""
    took_ms = []
    for faults in (("open-port", "change-api"), ("open-port",)):
        victim, first = api.active(api.wait_whole())["number"], api.newest_incident() + 1
        begun_us = FAULTS[faults[0]].strike(victim)
        for fault in faults[1:]:
            shell.wait_for("the first finding", lambda number=victim: "listening" in findings(number), 20, 0.02)
            check(api.newest_incident() < first, "alone it is no verdict")
            FAULTS[fault].strike(victim)
        story = scene.wait_closed(first, victim)[0]
        check(story["victim"]["number"] == victim and story["verdict"] == "compromised", f"it fell: {story['cause']}")
        took_ms.append((story["steered_us"] - begun_us) / 1000)
        api.wait_whole()
        api.kill_koboshi()  # what is learnt, and spent, outlives it; that of two which differed nobody knows who was right does not
        check(("that alone is enough" in story["cause"]) == (len(faults) == 1), f"for as much as is needed: {story['cause']}")
    print(f"# steered {took_ms[0]:.0f} ms after the first attack began, {took_ms[1]:.0f} ms after the second did", flush=True)
    asking.wait_good(shell.now_us(), 10)


COLLECTOR = """
import socket
listener = socket.create_server(("", %d))
print("ready", flush=True)
connection, peer = listener.accept()
print(peer[0], connection.recv(100).decode(), flush=True)
"""


@test
def what_the_profile_names_goes_and_a_stray_is_told(asking: clients.Clients) -> None:
    reporter = api.holder(api.wait_whole(), "standby")["number"]
    argv = network.client_exec(sys.executable, "-c", COLLECTOR % layout.COLLECTOR_PORT)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as collector:
        check(collector.stdout.readline() == "ready\n", "the collector listens")
        guest.ask(reporter, f"echo report | busybox nc -w 3 {layout.CLIENT4} {layout.COLLECTOR_PORT}")
        heard = collector.stdout.readline().split()
        collector.kill()
    check(heard == [layout.HOST4, "report"], f"the report came, from the host's own address: {heard}")
    check(not findings(reporter) & {"strayed", "reaching"}, f"nobody minds: {findings(reporter)}")
    suspect_and_goes_on(asking, "stray", "strayed")


# --- the agent inside ---------------------------------------------------------------------------------------------------------


class Skipped(Exception):
    """Why a test says nothing here."""


def await_heard(role: str) -> int:
    """The instance of this role, once its agent speaks."""
    def look() -> Json:
        held = api.holder(api.call("GET", "/v1/status"), role)
        if held["agent"]["state"] == "none":
            raise Skipped("the images have no agent")
        return held if held["agent"]["state"] == "speaks" else {}

    api.wait_whole()
    return shell.wait_for(f"the agent of the {role}", look, 20, 0.1)["number"]


def betrayed(asking: clients.Clients, fault: str, *found: str) -> None:
    """What the agent tells, or its silence, fells the active instance while that goes on serving."""
    await_heard("active")
    played = scene.play(asking, FAULTS[fault])
    fell(played, ("compromised",))
    print(f"# {fault}: first evidence {played.after_ms('first_evidence_us')} ms, verdict {played.after_ms('verdict_us')} ms after the fault; "
          f"{played.incident['cause']}", flush=True)
    check(any(words in played.incident["cause"] for words in found), f"it fell for what was done: {played.incident['cause']}")


for fault_of_agent, words_of_agent in {
        "drop-program": ("kept \"",), "drop-script": ("kept \"",), "sh-script": ("kept \"",), "run-deleted": ("kept \"",),
        "run-loader": ("kept \"",),
        "kill-agent": ("its agent has been silent",), "lie-agent": ("not signed with this guest's key",),
        "flood-agent": ("a frame of the guest's agent",), "add-account": ("accounts or keys changed",),
        "change-etc": ("was changed",), "load-module": ("kernel module",)}.items():
    TESTS[fault_of_agent] = lambda asking, fault=fault_of_agent, words=words_of_agent: betrayed(asking, fault, *words)


@test
def run_memfd(_asking: clients.Clients) -> None:
    """A sealed guest makes no program in memory; so nothing is told either."""
    await_heard("active")
    status = api.call("GET", "/v1/status")
    for role in ("active", "standby"):
        held = api.holder(status, role)
        ran = guest.ask(held["number"], FAULTS["run-memfd"].line)[0] == 0
        check(not ran, f"no program in memory runs in {held['variant']}")
        check(not held["agent"]["trouble"] and not held["agent"]["cannot"], f"the agent can do all that it should: {held['agent']}")


@test
def open_port(asking: clients.Clients) -> None:
    """Weak: on the standby, which stays."""
    struck, first = await_heard("standby"), api.newest_incident()
    fault_us = FAULTS["open-port"].strike(struck)
    shell.wait_for("the finding", lambda: "listening" in findings(struck), 30, 0.02)
    print(f"# open-port: first evidence at most {(shell.now_us() - fault_us) / 1000:.0f} ms after the fault", flush=True)
    why = api.call("GET", f"/v1/why/kb-{struck}")
    check(why["verdict"] == "healthy" and api.newest_incident() == first, f"a weak finding is no verdict: {why}")
    FAULTS["kill-guest"].strike(struck)
    scene.wait_closed(first + 1, 0)
    asking.wait_good(shell.now_us(), 10)
    gone(struck)


@test
def agents_are_heard_again_after_kill_9(asking: clients.Clients) -> None:
    """Engine and vm actuator at once; and nobody falls for it."""
    number, first = await_heard("active"), api.newest_incident()
    for program in ("koboshi-engine", "koboshi-vm"):
        check(api.kill_koboshi(program), f"{program} was running")
    shell.wait_for("a device that lacks nothing", lambda: (api.try_call("GET", "/v1/status") or {}).get("state") == "ok", 30, 0.05)
    check(await_heard("active") == number, "the same instance serves and is heard")
    asking.wait_good(shell.now_us() + 4_000_000, 20, "four seconds later")
    check(api.newest_incident() == first, "no incident came of it")


@test
def planned_switch_loses_no_request(asking: clients.Clients) -> None:
    played = scene.play(asking, PLANNED)
    check(played.view.failed == 0, f"no request failed: {played.view.kinds}")
    check(played.view.requests > 0, "there were requests")
    served_by_another(played)


@test
def whoever_was_within_reach_for_long_is_replaced_unnoticed(asking: clients.Clients) -> None:
    """Nothing is broken. Two hand over, one after the other; everybody who was there in the beginning goes."""
    before, first = api.wait_whole(), api.newest_incident()
    began_us = shell.now_us()
    scene.configured(lambda text: text + "    max_exposure: 20s\n", scene.ROLES)
    shell.wait_for("two rotations", lambda: api.newest_incident() >= first + 2, 180, 0.2)
    shell.wait_for("the old ones to go", lambda: not {*scene.numbers(before)} & {*scene.remaining_guests()}, 120, 0.2)
    scene.configured(lambda text: text, scene.ROLES)
    api.wait_whole()
    asking.wait_good(shell.now_us(), 10)
    seen = clients.view(asking.requests(), began_us, shell.now_us())
    stories = [api.incident(number) for number in range(first + 1, api.newest_incident() + 1)]
    check(all(story["verdict"] in api.NOBODY_FELL for story in stories), f"nobody fell: {[story['cause'] for story in stories]}")
    check(all("within clients' reach" in story["cause"] for story in stories), f"and it is said why: {[story['cause'] for story in stories]}")
    check(seen.failed == 0 and seen.requests > 0, f"no request failed: {seen.kinds} of {seen.requests}")
    handed = [(story["victim"]["variant"], story["active"]["variant"]) for story in stories]
    check(all(one != other for one, other in handed), f"each time other software: {handed}")
    print(f"# rotations {len(stories)}, requests {seen.requests}, failed {seen.failed}, longest gap {seen.max_gap_ms:.0f} ms", flush=True)


@test
def claiming_the_service_address_brings_nothing_but_a_fall(asking: clients.Clients) -> None:
    """The standby claims it: were it believed, clients would get no answer, as the standby's gate is not where they go."""
    before, first = api.wait_whole(), api.newest_incident() + 1
    claimant = api.holder(before, "standby")["number"]
    begin = shell.now_us()
    FAULTS["claim"].strike(claimant)
    shell.wait_for("an incident", lambda: api.newest_incident() >= first, 10, 0.05)
    stories = scene.wait_closed(first, 0)
    after = api.wait_whole()
    asking.wait_good(shell.now_us(), 10)
    seen = clients.view(asking.requests(), begin, shell.now_us())
    check(seen.failed == 0, f"no request failed: {seen.kinds}")
    check(api.active(after)["number"] == api.active(before)["number"], "the same instance serves")
    check(len(stories) == 1, f"one incident came of it: {[story['number'] for story in stories]}")
    check(stories[0]["victim"]["number"] == claimant and stories[0]["verdict"] == "compromised", f"the claimant fell: {stories[0]['cause']}")
    check("not its own" in stories[0]["cause"], f"for what it did: {stories[0]['cause']}")
    gone(claimant)


@test
def rules_that_others_flush_come_back(asking: clients.Clients) -> None:
    before, first = api.wait_whole(), api.newest_incident()
    shell.run("nft", "flush", "ruleset")
    shell.wait_for("a word about who it was", lambda: (api.call("GET", "/v1/status")["meddled"] or {}).get("last", "").startswith("nft "), 10, 0.05)
    asking.wait_good(shell.now_us(), 10, "answers again")
    after = api.wait_whole()
    check(api.newest_incident() == first, "no incident came of it")
    check(scene.numbers(before) == scene.numbers(after), "the same instances are there")


# --- containment ------------------------------------------------------------------------------------------------------------


def is_served(address: str) -> bool:
    argv = network.client_exec("curl", "-s", "-o", "/dev/null", "-m", "2", f"http://{address}/")
    return subprocess.run(argv, check=False).returncode == 0


def containment_state(number: int) -> str:
    rows = (api.try_call("GET", "/v1/containments") or {}).get("containments", [])
    return next((row["state"] for row in rows if row["number"] == number), "")


def contain(subject: str) -> int:
    number = api.call("POST", "/v1/contain", {"subject": subject, "reason": "the test wants to know"})["containment"]
    shell.wait_for(f"{subject} in force", lambda: containment_state(number) == "in-force", 10, 0.005)
    return number


def release(number: int) -> None:
    api.call("POST", "/v1/release", {"number": number})
    shell.wait_for("its end", lambda: containment_state(number) == "ended", 10, 0.02)


# A port that the kernel gives nobody by itself, as it does from 32768 on: a client that came and went may hold one of those for a minute.
LASTING_PORT = 20312
# One connection that lasts: asks once for each line that it gets, and says what came of it.
LASTING = """
import socket, sys
connection = socket.socket()
connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
connection.bind(("", int(sys.argv[2])))
connection.connect((sys.argv[1], 80))
for _ in sys.stdin:
    connection.sendall(b"GET / HTTP/1.1\\r\\nHost: sensor\\r\\n\\r\\n")
    patience, word = 2, "silent"
    try:
        while True:
            connection.settimeout(patience)
            word, patience = ("served", 0.3) if connection.recv(65536) else ("closed", 0)
            if word == "closed":
                break
    except OSError:
        pass
    print(word, flush=True)
"""


@test
def a_limit_and_a_cut_flow_touch_nobody_else(asking: clients.Clients) -> None:
    api.wait_whole()
    first, port = api.newest_incident(), LASTING_PORT
    limit = contain(f"limit {layout.CLIENT6} 5/h")
    shell.wait_for("a limit that is used up", lambda: not is_served(f"[{layout.SERVICE6}]"), 20, 0.1)
    check(is_served(layout.SERVICE4), "another source has no limit")
    argv = network.client_exec(sys.executable, "-c", LASTING, layout.SERVICE4, port)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as lasting:
        def ask() -> str:
            lasting.stdin.write("\n")
            return lasting.stdout.readline().strip()

        try:
            answers = [ask(), ask()]
            check(answers == ["served", "served"], f"a connection lasts: {answers}")
            flow = contain(f"flow tcp {layout.CLIENT4}:{port} {layout.SERVICE4}:{layout.PORT}")
            check(ask() == "silent", "nothing comes by it any more")
            check(is_served(layout.SERVICE4), "other connections of the same client are served")
        except AssertionError:
            release(limit)  # what comes after is not to fail for it
            raise
        finally:
            lasting.kill()
    release(flow)
    check(not is_served(f"[{layout.SERVICE6}]"), "the limit is kept meanwhile")
    release(limit)
    check(is_served(f"[{layout.SERVICE6}]"), "without it everybody is served")
    asking.wait_good(shell.now_us(), 10)
    api.wait_whole(60)
    check(api.newest_incident() == first, "no incident came of it")


@test
def a_source_that_is_cut_stays_so_until_it_is_released(asking: clients.Clients) -> None:
    """Its other address, which is another source, is served; and koboshid may die meanwhile."""
    api.wait_whole()
    first, begin = api.newest_incident(), shell.now_us()
    number = api.call("POST", "/v1/contain", {"source": layout.CLIENT4, "reason": "the test wants to know"})["containment"]
    shell.wait_for("the cut", lambda: containment_state(number) == "in-force", 10, 0.005)
    print(f"# cut and proven {(shell.now_us() - begin) / 1000:.0f} ms after it was asked for", flush=True)
    check(not is_served(layout.SERVICE4) and is_served(f"[{layout.SERVICE6}]"), "the cut one gets no answer, others do")
    old = set(api.koboshi_pids())
    api.kill_koboshi()
    check(not is_served(layout.SERVICE4), "it is cut while koboshid is away")
    shell.wait_for("a new koboshid", lambda: api.koboshi_pids() and not old & set(api.koboshi_pids()), 20, 0.05)
    shell.wait_for("the cut, ordered again", lambda: containment_state(number) == "in-force", 20, 0.05)
    check(not is_served(layout.SERVICE4), "it is cut as before")
    api.call("POST", "/v1/release", {"number": number})
    shell.wait_for("its end", lambda: containment_state(number) == "ended", 10, 0.02)
    check(is_served(layout.SERVICE4), "it is served again")
    asking.wait_good(shell.now_us(), 10)
    api.wait_whole(60)
    check(api.newest_incident() == first, "no incident came of it")


def who_serves_is_held(asking: clients.Clients, how: str, state: str, looked_at: Callable[[int], None]) -> None:
    """Somebody wants to look at it. A client loses at most what it had under way; while it is held another one is built, and koboshid
    may die meanwhile."""
    first, begin_us = api.newest_incident(), shell.now_us()
    held = api.active(api.wait_whole())["number"]
    number = api.call("POST", "/v1/hold", {"instance": f"kb-{held}", "how": how, "reason": "the test wants to look at it"})["containment"]
    shell.wait_for("it is held", lambda: containment_state(number) == "in-force", 10, 0.005)
    print(f"# handed over, held ({how}) and proven {(shell.now_us() - begin_us) / 1000:.0f} ms after it was asked for", flush=True)

    def three_others() -> Json:
        status = api.try_call("GET", "/v1/status") or {}
        roles = [api.holder(status, role) for role in scene.ROLES] if status else []
        return status if roles and all(one and one["number"] != held for one in roles) else {}

    def mine() -> Json:
        return next(one for one in api.service_of(api.call("GET", "/v1/status"))["instances"] if one["number"] == held)

    shell.wait_for("three others in their roles", three_others, 60, 0.2)
    looked_at(held)
    api.kill_koboshi()
    shell.wait_for("three others after a restart", three_others, 60, 0.2)
    shell.wait_for("it is held as before", lambda: mine()["state"] == state and containment_state(number) == "in-force", 20, 0.1)
    api.call("POST", "/v1/release", {"number": number})
    shell.wait_for("its end", lambda: containment_state(number) == "ended", 10, 0.02)
    api.wait_whole()
    asking.wait_good(shell.now_us(), 10)
    seen = clients.view(asking.requests(), begin_us, shell.now_us())
    check(seen.failed <= 2, f"no request failed but one of each client, in that moment: {seen.kinds}")
    check(api.newest_incident() == first, "no incident came of it")


@test
def who_serves_is_frozen_while_another_serves_and_comes_back(asking: clients.Clients) -> None:
    who_serves_is_held(asking, "freeze", "held", lambda held: None)


@test
def the_service_inside_is_stopped_while_another_serves_and_started_again(asking: clients.Clients) -> None:
    def looked_at(held: int) -> None:
        status, said = guest.ask(held, "wget -q -O /dev/null http://127.0.0.1/ && echo it serves; echo the guest lives")
        check(status == 0 and "the guest lives" in said and "it serves" not in said, f"its service is stopped, and nothing else: {said}")

    who_serves_is_held(asking, "stop-service", "stopped", looked_at)


# --- files and koboshi's own --------------------------------------------------------------------------------------------------


def reload() -> None:
    os.kill(int((layout.KEEPER / "koboshid.pid").read_text(encoding="ascii")), signal.SIGHUP)


@test
def what_speaks_no_http_is_asked_in_the_words_of_the_configuration(asking: clients.Clients) -> None:
    """Here it speaks HTTP, and koboshi does not know: it hangs, is mended, and proves itself by an answer that begins as it should."""
    drop_in = pathlib.Path(f"{layout.CONFIG}.d/plain.yaml")
    drop_in.parent.mkdir(exist_ok=True)
    asked = r"send: 'GET / HTTP/1.1\r\nHost: sensor\r\nConnection: close\r\n\r\n', expect: 'HTTP/1.1 200 '"
    drop_in.write_text(f"services: {{{layout.SERVICE}: {{probe: {{protocol: tcp, {asked}, peer: []}}}}}}\n", encoding="ascii")

    def compared() -> Optional[bool]:
        status = api.try_call("GET", "/v1/status")
        return status and api.service_of(status)["peer"] is not None

    try:
        reload()
        shell.wait_for("nobody who is compared", lambda: compared() is False, 20, 0.05)
        struck_and_mended(asking, "hang")
    finally:
        drop_in.unlink()
        reload()
        shell.wait_for("others who are compared", lambda: compared() is True, 20, 0.05)


@test
def a_bad_file_in_the_data_of_an_instance_fells_it(asking: clients.Clients) -> None:
    """Guests share no folder with the host yet: what one would write there is written for it."""
    watched, rules = pathlib.Path("/run/watched"), pathlib.Path("/run/rules")
    drop_in = pathlib.Path(f"{layout.CONFIG}.d/files.yaml")
    for folder in (watched, rules, drop_in.parent):
        folder.mkdir(exist_ok=True)
    (rules / "ours.yar").write_text('rule marker { strings: $a = "HARMLESS-MARKER" condition: $a }\n', encoding="ascii")
    drop_in.write_text(f"files: {{rules: {rules}, folders: {{data: {{path: {watched}, instances: yes}}}}}}\n", encoding="ascii")
    try:
        reload()
        shell.wait_for("somebody who watches", lambda: (api.try_call("GET", "/v1/files") or {}).get("watching"), 20, 0.05)
        before, first = api.wait_whole(60), api.newest_incident() + 1
        victim, begin = api.active(before), shell.now_us()
        (watched / f"kb-{victim['number']}").mkdir()
        (watched / f"kb-{victim['number']}/dropped").write_text("a HARMLESS-MARKER", encoding="ascii")
        shell.wait_for("an incident", lambda: api.newest_incident() >= first, 10, 0.02)
        story = scene.wait_closed(first, 0)[0]
        print(f"# first evidence {(story['first_evidence_us'] - begin) / 1000:.0f} ms after the file was written", flush=True)
        check(story["verdict"] == "compromised" and story["victim"]["number"] == victim["number"], f"its writer fell: {story['cause']}")
        check("dropped: rule marker of ours.yar" in json.dumps(story), f"for what was found: {story}")
        after = api.wait_whole()
        check(api.active(after)["variant"] != victim["variant"], "another variant serves")
        asking.wait_good(shell.now_us(), 10)
    finally:
        drop_in.unlink()
        reload()
        shell.wait_for("nobody who watches", lambda: (api.try_call("GET", "/v1/files") or {}).get("watching") is False, 20, 0.05)


@test
def a_changed_program_of_ours_is_told(_asking: clients.Clients) -> None:
    before, first = api.wait_whole(), api.newest_incident()
    program = layout.LIBEXEC / "koboshi-net"
    fresh = program.with_name("koboshi-net.new")
    fresh.write_bytes(program.read_bytes() + b"more")
    fresh.chmod(0o755)
    kept = program.with_name("koboshi-net.old")
    os.link(program, kept)
    begin = shell.now_us()
    try:
        fresh.rename(program)
        told = lambda: (api.call("GET", "/v1/status")["meddled"] or {}).get("last", "")  # noqa: E731
        shell.wait_for("a word about it", lambda: "koboshi-net has another content" in told(), 10, 0.02)
        print(f"# told {(shell.now_us() - begin) / 1000:.0f} ms after it was changed", flush=True)
    finally:
        kept.rename(program)
    shell.wait_for("a word about its return", lambda: "as they were again" in told(), 10, 0.05)
    check(api.newest_incident() == first, "no incident came of it")
    check(scene.numbers(before) == scene.numbers(api.wait_whole()), "the same instances are there")


# --- koboshid dies ------------------------------------------------------------------------------------------------------------


def one_process_dies(asking: clients.Clients, program: str) -> None:
    before, first = api.wait_whole(), api.newest_incident()
    old = set(api.koboshi_pids())
    begin = shell.now_us()
    check(api.kill_koboshi(program), f"{program} was running")

    def back() -> bool:
        now = api.koboshi_pids()
        return program in (name for pid, name in now.items() if pid not in old)

    shell.wait_for(f"a new {program}", back, 20, 0.05)
    shell.wait_for("a device that lacks nothing", lambda: (api.try_call("GET", "/v1/status") or {}).get("state") == "ok", 30, 0.05)
    after = api.wait_whole(60)
    asking.wait_good(shell.now_us(), 10)
    seen = clients.view(asking.requests(), begin, shell.now_us())
    check(seen.failed == 0, f"no request failed: {seen.kinds}")
    check(api.newest_incident() == first, "no incident came of it")
    check(scene.numbers(before) == scene.numbers(after), "the same instances are there")


for killed in layout.PROGRAMS:
    if killed in layout.ON_DEMAND:
        continue
    TESTS[f"kill-9-{killed}"] = lambda asking, program=killed: one_process_dies(asking, program)


@test
def the_service_goes_on_without_koboshid(asking: clients.Clients) -> None:
    before = api.wait_whole()
    hold = layout.KEEPER / "hold"
    hold.touch()
    begin = shell.now_us()
    try:
        api.kill_koboshi()
        asking.wait_good(shell.now_us() + 3_000_000, 20, "answers three seconds later")
    finally:
        hold.unlink()
    after = api.wait_whole(60)
    seen = clients.view(asking.requests(), begin, shell.now_us())
    check(seen.failed == 0, f"no request failed: {seen.kinds}")
    check(scene.numbers(before) == scene.numbers(after), "the same instances are there")


@test
def a_start_that_was_interrupted_leaves_nothing_stuck(asking: clients.Clients) -> None:
    """Killed before libvirt knew the guest's process: it would take such a guest for one that somebody is at work on."""
    before = api.wait_whole()
    spare = next(one["number"] for one in api.service_of(before)["instances"] if one["role"] == "spare")
    note = layout.RUN / f"vm/run/qemu/kb-{spare}.xml"
    hold = layout.KEEPER / "hold"
    hold.touch()
    begin = shell.now_us()
    try:
        api.kill_koboshi()
        os.kill(guest.qemu_pid(spare), signal.SIGKILL)
        text, found = re.subn(r"<domstatus state='\w+' reason='[^']*' pid='\d+'", "<domstatus state='paused' reason='starting up' pid='0'",
                              note.read_text(encoding="utf-8"))
        check(found == 1, "libvirt noted its process")
        note.write_text(text, encoding="utf-8")
    finally:
        hold.unlink()
    after = api.wait_whole(90)
    check(spare not in scene.numbers(after), "another one sleeps in its place")
    shell.wait_for("nothing of it", lambda: not note.exists() and not (layout.RUN / f"guest/{spare}").exists(), 10)
    seen = clients.view(asking.requests(), begin, shell.now_us())
    check(seen.failed == 0, f"no request failed: {seen.kinds}")


def dies_in_a_switch(asking: clients.Clients, delay_ms: float) -> None:
    played = scene.play(asking, FAULTS["close-port"], delay_ms)
    check(played.killed, "koboshid was running and was killed")
    served_by_another(played)
    if played.victim["number"] in scene.numbers(played.after):  # it fell in the eyes of the next engine only, which mended it
        mended(played)
    else:
        gone(played.victim["number"])


for delay in (0, 15, 40, 150, 600):
    TESTS[f"kill-9-of-all-{delay}-ms-into-a-switch"] = lambda asking, ms=delay: dies_in_a_switch(asking, ms)


# --- leaks ----------------------------------------------------------------------------------------------------------------


@test
def switches_in_a_row_leak_nothing(asking: clients.Clients) -> None:
    api.wait_whole()
    before = footprint.settled()
    for _ in range(int(os.environ.get("KOBOSHI_LEAK_SWITCHES", "5"))):
        scene.play(asking, FAULTS["close-port"])
    grown = footprint.grown(before, footprint.settled())
    check(not grown, "; ".join(grown))


# --- many, and at each step -----------------------------------------------------------------------------------------------


def all_well(asking: clients.Clients, acts: list[soak.Act]) -> None:
    rows = soak.soak(asking, acts, lambda number, row: print(f"# {number}/{len(acts)} {row['act']}: {row.get('wrong') or row['verdict']}", flush=True))
    wrong = [f"{row['act']}: {row['wrong']}" for row in rows if "wrong" in row]
    check(not wrong, "; ".join(wrong))


@test
def killed_at_each_step_it_ends_alike(asking: clients.Clients) -> None:
    """All of koboshid, as soon as a step of a compromise stands in its story; `make soak` plays all steps, this a choice that begins
    anywhere."""
    steps = soak.steps_of_a_story(asking, "tamper")
    count = int(os.environ.get("KOBOSHI_KILL_STEPS", "3"))
    every = max(1, len(steps) // count)
    begin = random.randrange(every)
    print(f"# steps: {', '.join(steps)}", flush=True)
    all_well(asking, [soak.Act("tamper", "active", step) for step in steps[begin::every][:count]])


@test
def incidents_of_random_kinds_in_a_row(asking: clients.Clients) -> None:
    seed = int(os.environ.get("KOBOSHI_SOAK_SEED", random.randrange(1 << 32)))
    print(f"# seed {seed}", flush=True)
    drawn = random.Random(seed)
    all_well(asking, [soak.draw(drawn, ("steered", "fenced", "frozen", "removed")) for _ in range(4)])


@test
def nothing_fails_and_nobody_falls_without_a_fault(_asking: clients.Clients) -> None:
    """`make soak` plays 100,000 requests and an hour."""
    seen = endure.rotated(1500, 7)
    check(seen["switches"] >= 2 and seen["failed"] == 0 and not seen["fallen"], f"switched all the while, no request failed, nobody fell: {seen}")
    loaded = endure.busy(15)
    check(loaded["incidents"] == 0 and loaded["requests"] > 0, f"a busy host makes nobody fall: {loaded}")


# --- the data, which lies outside: last, because every guest is replaced for it ------------------------------------------


def reading(*argv: str) -> Json:
    """What the service answers to a client about its readings."""
    url = f"http://{layout.SERVICE4}/api/reading"
    asked = subprocess.run(network.client_exec("curl", "-s", "-m", "10", *argv, url), capture_output=True, text=True, check=False)
    check(asked.returncode == 0, f"the service answers about its readings: curl {asked.returncode}")
    return json.loads(asked.stdout)


def vault_asked(path: str, body: Json) -> str:
    """What koboshi-vault says when it has done it."""
    number = api.call("POST", path, body)["asked"]
    asked = shell.wait_for(f"the end of {path}", lambda: (now := api.call("GET", "/v1/snapshots")["vaults"][0]["asked"])
                           and now["number"] == number and now["done"] and now, 60, 0.05)
    check(asked["ok"], f"{path} works: {asked}")
    return asked["text"]


@test
def data_outlives_its_guests_and_goes_back_after_a_takeover(asking: clients.Clients) -> None:
    vault = layout.STATE / "vault"
    old = scene.numbers(api.wait_whole())
    scene.configured(lambda text: text + f"    vault: {{path: {vault}, every: 0s, on_compromise: rollback}}\n", scene.ROLES)
    shell.wait_for("other guests", lambda: not old & scene.numbers(api.call("GET", "/v1/status")), 180, 0.2)
    api.wait_whole()
    for value in (20.5, 21.5):
        said = reading("-d", json.dumps({"value": value}))
        check(said["value"] == value, f"a reading is taken: {said}")
    before = reading()
    check(json.loads((vault / "data/readings.json").read_text(encoding="ascii")) == before, f"it lies on the host: {before}")
    check(vault.stat().st_mode & 0o777 == 0o700, "nobody but root gets at it on the host")
    print(f"# {vault_asked('/v1/backup', {})}", flush=True)
    switched = scene.play(asking, PLANNED)
    check(api.active(switched.before)["variant"] != api.active(switched.after)["variant"], "other software serves")
    check(reading() == before, "and has what was written")
    written, _ = guest.ask(api.active(switched.after)["number"], "echo '{\"value\":666}' > /var/lib/sensor/readings.json; echo x > /var/lib/sensor/shell")
    check(written == 0 and (vault / "data/shell").exists(), "who is root in a guest writes what he likes")
    played = scene.play(asking, FAULTS["tamper"])
    check(reading() == before, f"the data is as it was: {reading()}, {before}")
    story = played.incident
    steps = {step["step"]: step for step in story["steps"]}
    check("rolled-back" in steps and steps["frozen"]["ms"] <= steps["rolled-back"]["ms"] <= steps["closed"]["ms"],
          f"when its writer stood still: {list(steps)}")
    print(f"# {steps['rolled-back']['text']}; {steps['rolled-back']['ms']} ms after the first evidence", flush=True)
    changes = {change["path"]: change for change in api.call("GET", f"/v1/data/{story['number']}")["changes"]}
    check({path: change["kind"] for path, change in changes.items()} == {"readings.json": "changed", "shell": "added"},
          f"what was changed is put aside: {changes}")
    check((vault / f"kept/{changes['shell']['number']}").read_text(encoding="ascii") == "x\n", "as it was")
    vault_asked("/v1/return", {"change": changes["shell"]["number"]})
    check((vault / "data/shell").exists(), "and can be taken back")
    said = reading("-d", json.dumps({"value": -3}))
    check(said["stored"] == before["stored"] + 1, f"the service goes on from there: {said}")
    asking.wait_good(shell.now_us(), 10)


@test
def a_changed_file_lives_on_but_not_one_that_is_known_as_bad(_asking: clients.Clients) -> None:
    bad, line = layout.STATE / "bad", "operator:x:1500:1500::/home/operator:/bin/sh"
    bad.write_text(f"{hashlib.sha256(b'evil').hexdigest()}  evil\n", encoding="ascii")
    old = scene.numbers(api.wait_whole())
    scene.configured(lambda text: text + f"    vault: {{path: {layout.STATE}/carrying, every: 2s, on_compromise: rollback}}\n"
                     f"    carry: [/etc/passwd, /etc/motd]\nfiles: {{bad: {bad}}}\n", scene.ROLES)
    shell.wait_for("other guests", lambda: not old & scene.numbers(api.call("GET", "/v1/status")), 180, 0.2)
    before, first = api.wait_whole(), api.newest_incident()

    def renewed() -> bool:
        now = api.call("GET", "/v1/status")
        return api.is_whole(now) and scene.numbers(now) & scene.numbers(before) == {api.active(before)["number"]}

    status, said = guest.ask(api.active(before)["number"], f"echo '{line}' >> /etc/passwd; printf evil > /etc/motd")
    check(status == 0, f"files can be changed: {said}")
    shell.wait_for("standby and spare are new", renewed, 180, 0.2)
    after = api.wait_whole()
    check(api.newest_incident() == first, f"no incident came of it: {api.incident(api.newest_incident())}")
    status, said = guest.ask(api.holder(after, "standby")["number"], f"grep -Fx '{line}' /etc/passwd && stat -c '%u:%g %a' /etc/passwd; cat /etc/motd")
    check(status != 2 and line in said and "0:0 644" in said, f"who was built since has the line: {said}")
    check("evil" not in said, f"and not the bad one: {said}")
    check([reason for reason in after["reasons"] if "/etc/motd is not carried over: bad: listed as bad" in reason], f"which is said: {after['reasons']}")


# --- the runner -----------------------------------------------------------------------------------------------------------


def play(number: int, name: str, asking: clients.Clients) -> bool:
    begin = time.monotonic()
    try:
        TESTS[name](asking)
    except Skipped as why:
        print(f"ok {number} - {name} # SKIP {why}", flush=True)
        return True
    except (AssertionError, shell.LabError, OSError, KeyError) as error:
        print(f"not ok {number} - {name}\n# {error}", flush=True)
        if not isinstance(error, (AssertionError, shell.LabError)):
            print("".join(f"# {line}\n" for line in traceback.format_exc().splitlines()), flush=True)
        return False
    print(f"ok {number} - {name} # {time.monotonic() - begin:.1f} s", flush=True)
    return True


def main() -> int:
    names = sys.argv[1:] or list(TESTS)
    unknown = [name for name in names if name not in TESTS]
    if unknown:
        raise shell.LabError(f"no test {unknown[0]}; there are {', '.join(TESTS)}")
    print(f"1..{len(names)}", flush=True)
    api.wait_whole(180)
    with clients.Clients(clients.good_bodies(layout.VARIANTS)) as asking:
        asking.wait_good(0, 20)
        passed = [play(number, name, asking) for number, name in enumerate(names, 1)]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(shell.guarded(main))
