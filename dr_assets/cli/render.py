"""Terminal output of the `dr` command: tables on stdout, progress on stderr. No logic."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from dr_assets.core.model import Drift, Outcome
from dr_assets.core.topology import HOME
from dr_assets.reconcile.service import JobResult, Verification, outcome_json, summary
from dr_assets.stack import SITES, Stack

if TYPE_CHECKING:
    from dr_assets.drills.parts import Condition
    from dr_assets.drills.record_document import Record
    from dr_assets.drills.request import Prepared

# A pipe or a file has no terminal width.
out = Console(file=sys.stdout, highlight=False, emoji=False, width=None if sys.stdout.isatty() else 200)
err = Console(file=sys.stderr, highlight=False, emoji=False)

_STYLES = {
    "in_sync": "green",
    "created": "cyan",
    "updated": "cyan",
    "waiting": "yellow",
    "drifted": "red",
    "absent": "red",
    "unknown": "magenta",
}


def plain_table(*headers: str, title: str | None = None) -> Table:
    """A table without borders, headers in bold."""
    return Table(*headers, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")


@contextmanager
def progress(verb: str, total: int, quiet: bool = False) -> Iterator[Callable[[Outcome], None]]:
    """A progress bar when stderr is a terminal, else one line per outcome that is not in sync."""
    if quiet:
        yield lambda _: None
        return
    if not err.is_terminal:

        def line(outcome: Outcome) -> None:
            if outcome.status != "in_sync":
                err.print(f"{verb}: {outcome.key} {outcome.status.replace('_', ' ')}", markup=False)

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(verb, total=total)

        def tick(outcome: Outcome) -> None:
            bar.update(task, advance=1, description=f"{verb} {outcome.key}"[:60].ljust(60))

        yield tick


def verification(result: Verification) -> None:
    """Print the differences, then the counts."""
    bad = [outcome for outcome in result.outcomes if outcome.status != "in_sync"]
    if bad:
        out.print(_outcome_table(bad))
    counts = ", ".join(
        f"{n} {status.replace('_', ' ')}" for status, n in summary(result.outcomes).items() if status != "total"
    )
    writer = f"writer: {result.topology.writer or 'none yet'}" if result.topology else "writer: unknown"
    if result.problem:
        writer = "writer: outside both sites"
        out.print(result.problem, soft_wrap=True, markup=False)
    out.print(
        f"{len(result.outcomes)} resources: {counts}; {writer}; {result.api_calls} AWS calls in {result.seconds:.1f} s"
    )


def _outcome_table(outcomes: Sequence[Outcome]) -> Table:
    table = plain_table()
    for name in ("asset", "status", "field", "desired", "observed"):
        table.add_column(name, no_wrap=name in ("asset", "status"), overflow="fold")
    for outcome in outcomes:
        status = Text(outcome.status.replace("_", " "), style=_STYLES[outcome.status])
        rows: Sequence[Drift | None] = outcome.drift or (None,)
        for number, item in enumerate(rows):
            first = (outcome.key, status) if number == 0 else ("", "")
            if item is None:
                table.add_row(*first, Text(outcome.reason), "", "")
            else:
                table.add_row(*first, item.field, *(Text(text) for text in _sides(item)))
    return table


def outputs(values: Mapping[str, Any], unknown: Collection[str] = ()) -> None:
    width = max(map(len, values))
    for name, value in values.items():
        missing = "(unknown)" if name in unknown else "(absent)"
        out.print(f"{name:<{width}}  {missing if value is None else value}", markup=False, soft_wrap=True)


def status(stack: Stack, result: Verification) -> None:
    """Print the roles, then each layer of each site."""
    top = result.topology
    if top is None:
        out.print("Topology: unknown (AWS did not answer)")
    elif top.problem:
        out.print(f"Topology: {top.problem}", soft_wrap=True, markup=False)
    elif top.writer is None:
        out.print("Topology: no global cluster with a writer yet")
    else:
        where = "at home" if top.writer == HOME else "AWAY FROM HOME"
        moving = f", {top.in_transition} under way" if top.in_transition else ""
        out.print(f"Topology: writer at the {top.writer} site ({stack.region(top.writer)}), {where}{moving}")
    areas = sorted({outcome.key.split("/")[1] for outcome in result.outcomes})
    table = plain_table("layer", *SITES, "global")
    for area in areas:
        table.add_row(area, *(_cell(result.outcomes, f"{site}/{area}/") for site in (*SITES, "global")))
    out.print(table)
    out.print(
        f"Objectives: RPO < {stack.rpo_seconds} s, RTO < {stack.rto_seconds} s, detection within {stack.detection_seconds} s"
    )


def _cell(outcomes: Sequence[Outcome], prefix: str) -> Text:
    mine = [outcome for outcome in outcomes if outcome.key.startswith(prefix)]
    if not mine:
        return Text("-", style="dim")
    counts = summary(mine)
    if counts["in_sync"] == counts["total"]:
        return Text(f"{counts['total']} in sync", style="green")
    texts = [f"{n} {status.replace('_', ' ')}" for status, n in counts.items() if status != "total" and n]
    return Text(", ".join(texts), style="red")


def job(result: JobResult, verb: str) -> None:
    """Print the failures, then how many resources changed."""
    done = [outcome for outcome in result.outcomes if outcome.calls]
    for text in result.failures:
        err.print(f"failed: {text}", markup=False, style="red")
    for check in result.failed_checks:
        err.print(f"check failed: {check}", markup=False, style="red")
    state = "done" if result.success and not result.failed_checks else "NOT COMPLETE"
    out.print(f"{verb}: {state}; {len(result.outcomes)} resources, {len(done)} changed, {len(result.failures)} failed")


def job_json(result: JobResult) -> dict[str, Any]:
    return {
        "success": result.success and not result.failed_checks,
        "run_id": result.run_id,
        "summary": summary(result.outcomes),
        "failures": list(result.failures),
        "failed_checks": list(result.failed_checks),
        "resources": [outcome_json(outcome) | {"calls": list(outcome.calls)} for outcome in result.outcomes],
    }


def _sides(item: Drift) -> tuple[str, str]:
    """Desired and observed as text; of two lists, only the values that the other lacks."""
    if isinstance(item.desired, list) and isinstance(item.observed, list):
        missing = [value for value in item.desired if value not in item.observed]
        surplus = [value for value in item.observed if value not in item.desired]
        return _listed(item.desired, "missing", missing), _listed(item.observed, "surplus", surplus)
    return _short(item.desired), _short(item.observed)


def _listed(values: Sequence[Any], word: str, odd: Sequence[Any]) -> str:
    return f"{len(values)} values" + (f"; {word}: {_short(', '.join(map(str, odd)))}" if odd else "")


def _short(value: Any, limit: int = 60) -> str:
    text = "not set" if value is None else value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


# --- drills ------------------------------------------------------------------------------------------------------------


def step(name: str, text: str) -> None:
    """One line of progress."""
    err.print(f"{name}: {text}", markup=False, soft_wrap=True)


def plan_json(prepared: Prepared) -> dict[str, Any]:
    """What `dr drill … --dry-run --json` prints."""
    return {
        "plan": prepared.plan.as_json(),
        "plan_hash": prepared.plan.hash,
        "steps": [{"step": name, "does": text} for name, text in prepared.plan.describe()],
        "preconditions": [condition.model_dump() for condition in prepared.conditions],
        "blocking": [condition.name for condition in prepared.blocking],
    }


def plan(prepared: Prepared) -> None:
    """Print the plan, its steps and its preconditions."""
    wanted = prepared.plan
    out.print(
        f"{wanted.scenario} of {wanted.stack}: writer from the {wanted.from_site} site ({wanted.from_region}) to the "
        f"{wanted.to_site} site ({wanted.to_region}); plan {wanted.hash[:12]}"
    )
    for number, (name, text) in enumerate(wanted.describe(), 1):
        out.print(f"  {number}. {name}: {text}", markup=False)
    out.print(_conditions("precondition", prepared.conditions))
    if prepared.blocking:
        names = ", ".join(condition.name for condition in prepared.blocking)
        out.print(
            f"Blocked by {len(prepared.blocking)} of {len(prepared.conditions)} preconditions: {names}", style="red"
        )


def _conditions(word: str, conditions: Sequence[Condition]) -> Table:
    table = plain_table(word, "", "reason")
    words = {True: Text("holds", "green"), False: Text("FAILS", "red"), None: Text("unknown", "magenta")}
    for item in conditions:
        table.add_row(item.name, words[item.passed], Text(item.reason or ""))
    return table


def record(written: Record) -> None:
    """Print a drill's figures against the objectives, its postconditions, and its record's hash."""
    scope, rto, rpo = written.scope, written.rto, written.rpo
    out.print(
        f"{written.scenario} {written.id}: {written.status}"
        + (f" ({written.reason})" if written.reason else "")
        + f"; writer moved from {scope.from_site} to {scope.to_site}",
        markup=False,
    )
    table = plain_table("figure", "measured", "objective", "")
    parts = ", ".join(f"{name} {_figure(value)}" for name, value in rto.parts.model_dump().items())
    interval = f"{_figure(rto.low_seconds)} to {_figure(rto.high_seconds)}"
    table.add_row("RTO", interval, f"< {rto.target_seconds} s", _verdict(rto.met))
    table.add_row("  parts", parts, "", "")
    table.add_row("RPO, time", _figure(rpo.lost_seconds), f"< {rpo.target_seconds} s", _verdict(rpo.met))
    lost = "unknown" if rpo.lost_commits is None else f"{rpo.lost_commits} of {rpo.acknowledged}"
    table.add_row("RPO, acknowledged commits lost", lost, "", "")
    table.add_row("in doubt (not acknowledged, but present)", str(rpo.in_doubt), "", "")
    exposure = written.exposure.seconds if written.exposure else None
    table.add_row("exposure (no usable reader)", _figure(exposure), "", "")
    out.print(table)
    out.print(_conditions("postcondition", written.postconditions))
    for text in written.deviations:
        out.print(f"deviation: {text}", markup=False, style="yellow")
    out.print(f"record {written.hash[:12]}, chained to {(written.previous_hash or 'nothing')[:12]}", markup=False)


def records(found: Sequence[Record], problems: Sequence[str], waiting: Sequence[str]) -> None:
    table = plain_table("drill", "status", "RTO s", "RPO s", "lost")
    for item in found:
        cells = (item.rto.high_seconds, item.rpo.lost_seconds, item.rpo.lost_commits)
        table.add_row(item.id, item.status, *("unknown" if cell is None else f"{cell:g}" for cell in cells))
    out.print(table)
    for text in problems:
        err.print(text, markup=False, style="red")
    for name in waiting:
        out.print(f"waiting to be resumed: dr drill resume {name}", markup=False, style="yellow")


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f} s"


def _verdict(met: bool | None) -> Text:
    return Text("unknown", "magenta") if met is None else Text("met", "green") if met else Text("MISSED", "red")
