"""What was aimed at, and whether it was reached: a table of the page, from the medians of its results."""
import math
import statistics
from typing import Any, Callable, Optional

from .arms import FAST, NOTHING, OURS, PLANNED
from .results import gaps, of, short, spent, these, times

Json = dict[str, Any]
Runs = list[Json]
PROBED_MS = 3 * 100 + 250  # three intervals and a timeout, as they are if nobody says otherwise
LOST_PORT = ("closed", "dropped")
VANISHED = ("died", "tap")
Seen = Optional[tuple[str, bool]]  # None: it was not measured


def median(values: list[Optional[float]]) -> Optional[float]:
    """None: of nothing. What never came took for ever."""
    return statistics.median(math.inf if value is None else value for value in values) if values else None


def gap(runs: Runs, arm: str, fault: str) -> Optional[float]:
    return median(gaps(runs, arm, fault, "new"))


def failed(runs: Runs, arm: str, fault: str) -> Optional[float]:
    return median(of(runs, arm, fault, "new", "failed"))


def two_again(runs: Runs, arm: str, fault: str) -> Optional[float]:
    return median(times(runs, arm, fault, "redundant_ms"))


def taken(what: str, when: str) -> Callable[[Runs, str, str], Optional[float]]:
    return lambda runs, arm, _: median(spent(runs, arm, when, what))


def together(parts: list[tuple[str, bool]]) -> Seen:
    return (", ".join(text for text, _ in parts), all(met for _, met in parts)) if parts else None


def said(ms: float) -> str:
    return "never" if ms == math.inf else f"{short(ms)} ms"


def share_said(our: float, their: float) -> str:
    if math.inf in (our, their):
        return "never" if our == math.inf else "theirs never"
    return f"1/{int(their / our)}" if 0 < our < their / 2 else f"{our / their:.2g}"  # 1/39.9 is no 1/40


def below(faults: tuple[str, ...], limit_ms: float, and_none_failed: bool) -> Callable[[Runs], Seen]:
    def look(runs: Runs) -> Seen:
        parts = []
        for fault in faults:
            ms, lost = gap(runs, OURS, fault), failed(runs, OURS, fault)
            if ms is not None and lost is not None:
                parts.append((f"{fault} {said(ms)}" + (f" and {short(lost)} failed" if and_none_failed else ""),
                              ms <= limit_ms and not (and_none_failed and lost)))
        return together(parts)

    return look


def fraction(figure: Callable[[Runs, str, str], Optional[float]], theirs: str, faults: tuple[str, ...], most: float) -> Callable[[Runs], Seen]:
    """Ours is at most so much of theirs."""
    def look(runs: Runs) -> Seen:
        parts = []
        for fault in faults:
            our, their = figure(runs, OURS, fault), figure(runs, theirs, fault)
            if our is not None and their:
                parts.append((f"{fault} {share_said(our, their)}".strip(), our / their <= most))
        return together(parts)

    return look


def handed_over(runs: Runs) -> Seen:
    late = [one + two for one, two in zip(of(runs, OURS, PLANNED, "new", "late"), of(runs, OURS, PLANNED, "kept", "late"))]
    lost = [one + two for one, two in zip(of(runs, OURS, PLANNED, "new", "failed"), of(runs, OURS, PLANNED, "kept", "failed"))]
    return (f"{sum(lost)} failed, {sum(late)} late, in {len(lost)} runs", not sum(lost) + sum(late)) if lost else None


def none_wrong_once_noticed(runs: Runs) -> Seen:
    counts = [run[client]["wrong_after"] for run in these(runs, OURS, "tampered") for client in ("new", "kept")
              if run[client].get("wrong_after") is not None]
    return (f"{sum(counts)} wrong, in {len(counts) // 2} runs", not sum(counts)) if counts else None


def no_more_failed(theirs: str) -> Callable[[Runs], Seen]:
    def look(runs: Runs) -> Seen:
        faults = sorted({run["fault"] for run in runs} - {NOTHING})
        pairs = [(fault, failed(runs, OURS, fault), failed(runs, theirs, fault)) for fault in faults]
        known = [(fault, our, their) for fault, our, their in pairs if our is not None and their is not None]
        more = [(fault, our, their) for fault, our, their in known if our > their]
        fast = [(fault, lost) for fault, _, _ in more if (lost := failed(runs, FAST, fault)) is not None]
        text = "more: " + ", ".join(f"{fault} {short(our)} against {short(their)}" for fault, our, their in more)
        text += "; " + FAST + ": " + ", ".join(f"{fault} {short(lost)}" for fault, lost in fast) if fast else ""
        return (text if more else "nowhere more", not more) if known else None

    return look


HAPROXY, KEEPALIVED, MONIT, PAPER, PAPERS_OWN, PACEMAKER = (
    "haproxy-tuned", "keepalived-tuned", "keepalived-monit", "paper-tuned", "paper-default", "pacemaker-tuned")
AIMS: tuple[tuple[str, str, Callable[[Runs], Seen]], ...] = (
    ("a closed port: a gap of 5 ms at most, no new connection failed", "cells", below(("closed",), 5, True)),
    ("a dropped port: 60 ms at most, none failed", "cells", below(("dropped",), 60, True)),
    ("a guest or its link gone: 100 ms at most", "cells", below(VANISHED, 100, False)),
    ("hung, or another page: three probe intervals and a timeout at most", "cells", below(("hung", "tampered"), PROBED_MS, False)),
    ("the same, and a kernel's panic", "guests", below(("hung", "panic", "tampered"), PROBED_MS, False)),
    ("another page: no wrong answer to who asks once it is noticed", "cells", none_wrong_once_noticed),
    ("a planned hand-over: none failed, none late", "cells", handed_over),
    ("no more requests failed than with HAProxy", "cells", no_more_failed(HAPROXY)),
    ("the same", "guests", no_more_failed(HAPROXY)),
    ("a lost port: at most 1/40 of the paper's form that polls each second", "cells", fraction(gap, PAPER, LOST_PORT, 1 / 40)),
    ("a lost port: at most 1/400 of the paper's own form", "guests", fraction(gap, PAPERS_OWN, LOST_PORT, 1 / 400)),
    ("a lost port: at most 1/40 of Pacemaker", "guests", fraction(gap, PACEMAKER, LOST_PORT, 1 / 40)),
    ("a silent end: no worse than keepalived at 10 ms", "cells", fraction(gap, KEEPALIVED, ("died", "paused"), 1)),
    ("the same", "guests", fraction(gap, KEEPALIVED, ("killed", "paused"), 1)),
    ("two again: at most 1/60 of the paper's form that polls each second", "cells", fraction(two_again, PAPER, ("closed", "dropped", "died"), 1 / 60)),
    ("memory (PSS, busy): at most keepalived's with monit", "cells", fraction(taken("pss_kb", "busy"), MONIT, ("",), 1)),
    ("processor, idle: at most 1/50 of Pacemaker's", "guests", fraction(taken("cpu_percent", "idle"), PACEMAKER, ("",), 1 / 50)),
)


def table(results: dict[str, Json]) -> str:
    lines = ["| aim | with | seen, medians | |", "| --- | --- | --- | --- |"]
    for text, tier, look in AIMS:
        seen = look(results[tier]["runs"]) if tier in results else None
        lines.append(f"| {text} | {tier} | {seen[0] if seen else 'not measured'} | {'' if not seen else 'reached' if seen[1] else '**not reached**'} |")
    return "\n".join(lines) + "\n"
