"""What deciding and watching costs, measured without a guest beside it: the plan's steps, the agent's answers, natively, the senses at the wire, and
the way back of a service's data.
"""
import json
import subprocess
import sys

from . import layout
from .bench import COSTS, TARGET, Json

ROOT = layout.BUILD.parent
COMMANDS = {
    "plan": [layout.BUILD / "test/plan/bench-plan-step"],
    "agent": [sys.executable, ROOT / "test/guest-agent/bench.py", layout.BUILD / "src/guest/koboshi-guest"],
    "vault": [sys.executable, ROOT / "test/act/vault/bench.py", layout.BUILD / "src/act/vault/koboshi-vault"],
    "wire": [layout.BUILD / "test/act/net/bench-net-wire", layout.BUILD / "test/act/net/koboshi-net-test"],
}


def forget() -> None:
    """Figures of another run do not get into this one's report."""
    COSTS.unlink(missing_ok=True)


def measure() -> None:
    """Writes costs.json; what cannot be measured here says why."""
    report: Json = {}
    for name, argv in COMMANDS.items():
        print(f"  what the {name} costs is measured (half a minute)", flush=True)
        done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
        try:
            report[name] = json.loads(done.stdout)
        except ValueError:
            report[name] = {"never": (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]}
    TARGET.mkdir(parents=True, exist_ok=True)
    COSTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
