#!/usr/bin/env python3
"""How much koboshi-guest costs, natively, in the little world of the tests. Prints JSON; judges nothing.

usage: bench.py KOBOSHI-GUEST      (needs root, and Linux 6.14 for a start that ends at the answer)
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from test_agent import CONF, why_not
from world import BEAT, HERE, World

SEEN, NEW = 20000, 300


def spread(world, *words):
    done = subprocess.run(["nice", "-n", "-15", *world.enter("/bin/bench", *map(str, words))], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench: {done.stderr.strip() or done.returncode}" + (": this kernel has no AT_EXECVE_CHECK" if done.returncode == 77 else ""))
    us = sorted(float(line) for line in done.stdout.split())
    return {"n": len(us), "p50_us": us[len(us) // 2], "p99_us": us[len(us) * 99 // 100], "worst_us": us[-1]}


def measure(kind, program):
    world = World(Path(tempfile.mkdtemp(prefix="kb-agent-")), program, kind == "trusted")
    try:
        subprocess.run(["gcc", "-O2", "-static", "-s", "-o", world.root / "bin/bench", HERE / "bench.c"], check=True)
        listed = (world.root / "bin/listed").read_bytes()
        (world.root / "bin/megabyte").write_bytes(listed + bytes((1 << 20) - len(listed)))
        (world.root / "bin/megabyte").chmod(0o755)
        world.write_list()
        world.up()
        result = {"without the agent": spread(world, "/bin/listed", SEEN)}
        world.start(CONF + ("root trusted\n" if kind == "trusted" else ""))
        world.give_key()
        world.wait_for(lambda f: f["type"] == BEAT, 5)
        spread(world, "/bin/listed", 10)
        result["listed, seen before"] = spread(world, "/bin/listed", SEEN)
        result["listed, 1 MB, new each time"] = spread(world, "/bin/megabyte", NEW, "/tmp/copy")
        status = Path(f"/proc/{world.agent_pid()}/status").read_text()
        result["agent_rss_kb"] = int(status.split("VmRSS:")[1].split()[0])
        world.stop()
        return result
    finally:
        world.down()


def main():
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    reason = why_not()
    if reason:
        raise SystemExit(f"bench: {reason}")
    program = Path(sys.argv[1]).absolute()
    print(json.dumps({
        "method": "execveat(AT_EXECVE_CHECK) from a static program, timed around the system call; a new file is written before each question and "
                  "that is not timed; the asking program has a high priority, as other load is not what is measured; `hashed` is a tmpfs root whose files are hashed and cached, `trusted` tmpfs over erofs as in our images",
        "goals": {"listed, seen before": "p99 500 us", "listed, 1 MB, new each time": "5000 us", "agent_rss_kb": 8192},
        "load": os.getloadavg()[0], "processors": len(os.sched_getaffinity(0)),
        **{kind: measure(kind, program) for kind in ("hashed", "trusted")}}, indent=1))


if __name__ == "__main__":
    main()
