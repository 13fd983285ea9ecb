"""Figures out of a race's runs. A report of an older race lacks some of them; then the list is empty."""
import random
import statistics
from typing import Any, Optional

Json = dict[str, Any]
Runs = list[Json]
RESAMPLES = 2000
P99_FROM = 100  # runs: of fewer the 99th percentile is the most


def these(runs: Runs, arm: str, fault: str) -> Runs:
    """Without those of which an arm knows nothing at all."""
    return [run for run in runs if run["arm"] == arm and run["fault"] == fault and not run.get("has_none")]


def of(runs: Runs, arm: str, fault: str, client: str, what: str) -> list[float]:
    return [run[client][what] for run in these(runs, arm, fault)]


def wrong(runs: Runs, arm: str, fault: str, client: str) -> list[float]:
    return [run[client]["kinds"].get("wrong", 0) for run in these(runs, arm, fault)]


def times(runs: Runs, arm: str, fault: str, what: str) -> list[Optional[float]]:
    """None: in that run it did not happen. The clients' word is that of the worse off."""
    mine = these(runs, arm, fault)
    if what == "again_ms":
        found = [[run[client].get(what, 0) for client in ("new", "kept")] for run in mine if what in run["new"]]
        return [None if None in both else max(both) for both in found]
    return [run[what] for run in mine if what in run]


def gaps(runs: Runs, arm: str, fault: str, client: str) -> list[Optional[float]]:
    """None: until the end of the run no answer was good."""
    return [None if run[client]["failed"] == run[client]["requests"] else run[client]["gap_ms"] for run in these(runs, arm, fault)]


def spent(runs: Runs, arm: str, when: str, what: str) -> list[float]:
    return [run[when][what] for run in runs if run["arm"] == arm and when in run and run[when].get(what) is not None]


def short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}" if value >= 0.1 else f"{value:.2g}"


def spread(values: list[float]) -> str:
    """Median, and the least and most behind it where they differ; of many runs the 99th percentile, too."""
    if not values:
        return "-"
    low, middle, high = (short(value) for value in (min(values), statistics.median(values), max(values)))
    if low == high:
        return middle
    p99 = f"; p99 {short(sorted(values)[-(-len(values) * 99 // 100) - 1])}" if len(values) >= P99_FROM else ""
    return f"{middle} ({low} to {high}{p99})"


def spread_or_never(values: list[Optional[float]]) -> str:
    known = [value for value in values if value is not None]
    missing = len(values) - len(known)
    if values and not known:
        return "never"
    return spread(known) + (f", {missing} times never" if missing else "")


def ratio(ours: list[float], theirs: list[float]) -> str:
    """Ours divided by theirs, of medians, with a bootstrap interval that holds it in 95 of 100 cases."""
    if len(ours) < 2 or len(theirs) < 2 or not statistics.median(theirs):
        return "-"
    chance = random.Random(1)
    found = sorted(statistics.median(chance.choices(ours, k=len(ours))) / max(statistics.median(chance.choices(theirs, k=len(theirs))), 1e-3)
                   for _ in range(RESAMPLES))
    middle = statistics.median(ours) / statistics.median(theirs)
    return f"{middle:.2g} ({found[RESAMPLES // 40]:.2g} to {found[-RESAMPLES // 40]:.2g})"


def budgets(runs: Runs, arm: str, fault: str) -> list[Json]:
    """Of the runs in which the clients were led elsewhere, where the time went."""
    return [run["budget"] for run in these(runs, arm, fault) if run.get("budget") and run["budget"]["answered_ms"] is not None]
