"""Run the contestants of a bench turn by turn, so that noise hits all of them, and print medians and ratios."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tests.bench import meter
from tests.bench.meter import Cost


class Command(NamedTuple):
    """What is run in one turn."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


class Contestant(NamedTuple):
    """Somebody to measure; ``command`` is given the number of the turn."""

    name: str
    command: Callable[[int], Command]


def always(name: str, argv: tuple[str, ...], env: Mapping[str, str]) -> Contestant:
    """Return a contestant that does the same in each turn."""
    return Contestant(name, lambda _: Command(argv, env))


class Goal(NamedTuple):
    """``first`` should need at most ``factor`` times what ``second`` needs of ``what`` ("wall" or "cpu")."""

    first: str
    second: str
    what: str
    factor: float


Costs = dict[str, list[Cost]]


def run(
    contestants: Sequence[Contestant], turns: int, scratch: str, *, settle: bool = False, warm: bool = True
) -> Costs:
    """Measure every contestant ``turns`` times.

    ``warm``: one turn before does not count. ``settle``: what others wrote is on disk before each begins.
    """
    costs: Costs = {each.name: [] for each in contestants}
    log = f"{scratch}/said"
    for turn in range(0 if warm else 1, turns + 1):
        # Another begins each time: what follows a slow neighbour must not always be the same.
        first = turn % len(contestants)
        for each in (*contestants[first:], *contestants[:first]):
            command = each.command(turn)
            if settle:
                os.sync()
            cost = meter.measure(command.argv, command.env, log=log)
            if turn:
                costs[each.name].append(cost)
        _tell_progress(turn, turns)
    return costs


def median(costs: Sequence[Cost]) -> Cost:
    return Cost(statistics.median(cost.wall for cost in costs), statistics.median(cost.cpu for cost in costs))


def show(title: str, costs: Costs, goals: Sequence[Goal] = ()) -> None:
    """Print a table; ratios are those to the first contestant, of medians."""
    (first, base), *_ = ((name, median(runs)) for name, runs in costs.items())
    print(f"\n{title} (medians of {len(costs[first])})")
    print(f"  {'':26}{'wall ms':>9}{'min':>9}{'max':>9}{'CPU ms':>9}{'wall ratio':>12}{'CPU ratio':>11}")
    for name, runs in costs.items():
        cost = median(runs)
        walls = [run.wall for run in runs]
        print(
            f"  {name:26}{cost.wall * 1e3:9.1f}{min(walls) * 1e3:9.1f}{max(walls) * 1e3:9.1f}{cost.cpu * 1e3:9.1f}"
            f"{cost.wall / base.wall:12.2f}{_ratio(cost.cpu, base.cpu):>11}"
        )
    for goal in goals:
        if goal.first in costs and goal.second in costs:
            ratio = getattr(median(costs[goal.first]), goal.what) / getattr(median(costs[goal.second]), goal.what)
            say_goal(f"{goal.first} / {goal.second}, {goal.what}", ratio, goal.factor)
    sys.stdout.flush()


def say_goal(what: str, value: float, limit: float, unit: str = "") -> None:
    print(f"  {'met   ' if value <= limit else 'MISSED'} {what}: {value:.3g}{unit} (at most {limit:.3g}{unit})")


def _ratio(one: float, other: float) -> str:
    return f"{one / other:.2f}" if other else "-"


def _tell_progress(turn: int, turns: int) -> None:
    if os.isatty(2):
        sys.stderr.write(f"\r{turn}/{turns} " if turn < turns else "\r\033[K")
        sys.stderr.flush()
