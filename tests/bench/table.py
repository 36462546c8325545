"""Measures as a table, as JSON, and as the block of the README."""

import json
import platform
import re
import statistics
import sys
import time
from pathlib import Path

# Rates are better when they are more, all else when it is less.
RATE = "/s"
# Of the wall time, and of the commands: what is told beside a rate.
SHARES = "child_busy", "driver_busy", "waited", "aside"
# A rate that others spoiled for longer than this share of its time, in per cent, is marked.
DISTURBED = 20
BLOCK = re.compile(r"(<!-- bench -->\n).*?(<!-- end -->)", re.S)


class Row:
    """A measure: for everybody the value of each round, and what kept the cores busy."""

    def __init__(self, name, unit, readme=None):
        """`readme` is its name there, if it stands there."""
        self.name, self.unit, self.readme, self.values, self.extra = name, unit, readme, {}, {}

    def add(self, who, value, **extra):
        self.values.setdefault(who, []).append(value)
        for what, figure in extra.items():
            self.extra.setdefault(who, {}).setdefault(what, []).append(figure)

    def note(self, who, count, spent, **more):
        """A rate, and what was spent."""
        self.add(who, spent.per_second(count), **spent.shares(count), **more)

    def median(self, who):
        return statistics.median(self.values[who])

    def factor(self, who):
        """By how much otpd is better than this one, in this run."""
        if who == "otpd" or "otpd" not in self.values or not self.median("otpd") or not self.median(who):
            return None
        factor = self.median("otpd") / self.median(who)
        return factor if self.unit == RATE else 1 / factor

    def as_json(self):
        return {
            "measure": self.name,
            "unit": self.unit,
            "values": {
                who: {
                    "median": self.median(who),
                    "min": min(rounds),
                    "max": max(rounds),
                    "rounds": rounds,
                    "otpd_is_better_by": self.factor(who),
                    **{name: statistics.median(figures) for name, figures in self.extra.get(who, {}).items()},
                }
                for who, rounds in self.values.items()
            },
        }


def figure(value, unit):
    """Three digits that count, and no more than the spread deserves."""
    if unit in ("ms", "µs") and value < 100:
        return f"{value:.3f}" if value < 1 else f"{value:.2f}"
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def told(row, who):
    rounds = row.values[who]
    spread = f"{figure(min(rounds), row.unit)}–{figure(max(rounds), row.unit)}" if len(rounds) > 1 else ""
    factor = row.factor(who)
    factor = "" if factor is None else f"{factor:.2f}" if factor < 10 else f"{factor:,.0f}"
    extra = {name: statistics.median(figures) for name, figures in row.extra.get(who, {}).items()}
    shares = [f"{extra[name]:.0f} %" if name in extra else "" for name in SHARES]
    cost = f"{extra['cpu_us']:,.2f}" if "cpu_us" in extra else ""
    return LINE.format(who, figure(row.median(who), row.unit), spread, factor, cost, *shares).rstrip()


LINE = "  {:<22}{:>12}{:>24}{:>9}{:>11}{:>8}{:>8}{:>8}{:>8}"
HEAD = LINE.format("", "median", "min–max", "otpd by", "CPU µs", "child", "driver", "waited", "aside")


def show(row):
    print(f"{row.name}, {row.unit}")
    for who in row.values:
        print(told(row, who))
    sys.stdout.flush()


def machine():
    """What it was run on, without the name of the machine."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.M)
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) / 2**20
    return {
        "date": time.strftime("%Y-%m-%d"),
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "cpu": model[1] if model else platform.machine(),
        "memory_gib": round(memory),
        "virtual": " hypervisor" in info,
    }


def write_json(path, rows, facts):
    path.parent.mkdir(parents=True, exist_ok=True)
    results = {**facts, "measures": [row.as_json() for row in rows]}
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def short(value, unit):
    if unit == RATE:
        for size, letter in ((1e6, " M"), (1e3, " k")):
            if value >= size:
                return f"{value / size:.3g}{letter}" if value / size < 100 else f"{value / size:.0f}{letter}"
        return f"{value:.2g}" if value < 10 else f"{value:.0f}"
    for small, large in (("µs", "ms"), ("ms", "s")):
        if unit == small and value >= 1_000:
            value, unit = value / 1_000, large
    return (f"{value:,.0f}" if value >= 100 else f"{value:.3g}") + f" {unit}"


def cell(row, who):
    """A median, and how far the rounds were from it, either way."""
    if who not in row.values:
        return "–"
    rounds, median = row.values[who], row.median(who)
    text = short(median, row.unit)
    if len(rounds) > 1 and median:
        text += f" ±{max(max(rounds) - median, median - min(rounds)) / median:.0%}".replace("%", " %")
    if statistics.median(row.extra.get(who, {}).get("waited", [0])) > DISTURBED:
        text += " †"
    return f"**{text}**" if who == "otpd" else text


def readme_block(rows, facts, about):
    """The columns are whoever was measured; what isn't done by somebody is said below."""
    rows = [row for row in rows if row.readme]
    columns = list(dict.fromkeys(["otpd", "floor"] + [who for row in rows for who in row.values]))
    marked = any("†" in cell(row, who) for row in rows for who in row.values)
    virtual = ", a virtual machine," if facts["virtual"] else ""
    lines = [
        f"| {facts['date']} | " + " | ".join(columns) + " |",
        "| --- |" + " ---: |" * len(columns),
        *(f"| {row.readme} | " + " | ".join(cell(row, who) for who in columns) + " |" for row in rows),
        "",
        f"{facts['otpd']} on {facts['cores']} cores of {facts['cpu']}{virtual} {facts['kernel']}, "
        f"{facts['memory_gib']} GiB; load before it {facts['load_before']}. Medians of {facts['rounds']} "
        "alternating rounds, ± the round farthest off; a figure without ± was taken once. Such a machine "
        "is noisy: compare along a row, not with other days."
        + (" † Others had the cores for more than a fifth of that time: compare the CPU." if marked else ""),
        "",
        *(f"- {line}" for line in about),
    ]
    return "\n".join(lines) + "\n"


def rewrite(readme, block):
    text = readme.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        sys.exit("bench: the README has no <!-- bench --> … <!-- end -->")
    readme.write_text(BLOCK.sub(lambda found: found[1] + block + found[2], text), encoding="utf-8")
