"""The pictures of docs/benchmarks: SVG, with nothing in it that is not of the results."""
import math
import statistics

from .arms import is_ours
from .results import budgets, of, Runs

PHASES = (("evidence_ms", "first evidence", "#d5b942"), ("verdict_ms", "verdict, or doubt", "#b03a2e"), ("steered_ms", "address moved", "#34495e"),
          ("answered_ms", "first good answer", "#7fb3a6"))


def head(width: float, height: float, title: str) -> list[str]:
    return [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
            f'<title>{title}</title>']


def picture(runs: Runs, arms: list[str], fault: str) -> str:
    """Each run is a dot at its longest gap, on a scale on which each step is ten times the one before."""
    left, width, row, top = 150, 560, 24, 30
    lanes = {arm: values for arm in arms if (values := of(runs, arm, fault, "new", "gap_ms"))}
    low, high = 0, max([4, *(math.ceil(math.log10(max(1, *values))) for values in lanes.values())])  # powers of ten, in ms
    height = top + row * len(lanes) + 26

    def x(value: float) -> float:
        return left + width * (math.log10(max(value, 1)) - low) / (high - low)

    parts = [*head(left + width + 20, height, f"{fault}: longest time without a good answer, new connections"),
             f'<text x="{left}" y="14">longest time without a good answer, new connections, ms; one dot a run, the bar is the median</text>']
    for power in range(low, high + 1):
        at = x(10 ** power)
        parts.append(f'<line x1="{at:.1f}" y1="{top - 6}" x2="{at:.1f}" y2="{height - 22}" stroke="#ccc"/>'
                     f'<text x="{at:.1f}" y="{height - 8}" text-anchor="middle">{10 ** power}</text>')
    for number, (arm, values) in enumerate(lanes.items()):
        y = top + row * number + row / 2
        colour = "#b03a2e" if is_ours(arm) else "#34495e"
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{arm}</text>')
        parts += [f'<circle cx="{x(value):.1f}" cy="{y:.1f}" r="3.5" fill="{colour}" fill-opacity="0.5"/>' for value in values]
        at = x(statistics.median(values))
        parts.append(f'<line x1="{at:.1f}" y1="{y - 9:.1f}" x2="{at:.1f}" y2="{y + 9:.1f}" stroke="{colour}" stroke-width="2"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def parts_of(runs: Runs, arm: str, fault: str) -> list[float]:
    """Medians of what each phase took, in their order; none: there was no such run."""
    rows, taken = budgets(runs, arm, fault), []
    for number, (name, _, _) in enumerate(PHASES):
        before = PHASES[number - 1][0] if number else None
        taken.append([max(0, row[name] - (row[before] if before else 0)) for row in rows])
    return [statistics.median(values) for values in taken] if rows else []


def step_of(longest: float) -> float:
    """Of the scale: at most ten marks, each a round number."""
    step = 10 ** math.floor(math.log10(max(longest, 1)))
    return step if longest / step <= 10 else 2 * step


def budget(runs: Runs, arms: list[str], faults: list[str]) -> str:
    """For each fault and setting of ours a bar: fault, evidence, verdict, moved, answered."""
    bars = [(f"{fault}, {arm}", taken) for fault in faults for arm in arms if (taken := parts_of(runs, arm, fault))]
    left, width, row, top = 190, 520, 22, 50
    longest = max((sum(taken) for _, taken in bars), default=1)
    height, scale, step = top + row * len(bars) + 26, width / max(longest, 1), step_of(longest)
    parts = [*head(left + width + 60, height, "from the fault to the first good answer of the next guest"),
             f'<text x="{left}" y="14">from the fault to the first good answer of the next guest, ms; medians of what each part took, until:</text>']
    for number, (_, words, colour) in enumerate(PHASES):
        at = left + 130 * number
        parts.append(f'<rect x="{at}" y="22" width="12" height="12" fill="{colour}"/><text x="{at + 17}" y="32">{words}</text>')
    for number in range(int(longest / step) + 1):
        at = left + scale * step * number
        parts.append(f'<line x1="{at:.1f}" y1="{top - 6}" x2="{at:.1f}" y2="{height - 22}" stroke="#ccc"/>'
                     f'<text x="{at:.1f}" y="{height - 8}" text-anchor="middle">{step * number:g}</text>')
    for number, (name, taken) in enumerate(bars):
        y, at = top + row * number, float(left)
        parts.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{name}</text>')
        for value, (_, _, colour) in zip(taken, PHASES):
            parts.append(f'<rect x="{at:.1f}" y="{y + 3}" width="{scale * value:.1f}" height="{row - 7}" fill="{colour}"/>')
            at += scale * value
        parts.append(f'<text x="{at + 5:.1f}" y="{y + 14}">{sum(taken):.0f}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
