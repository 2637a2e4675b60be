"""Terminal output of the `dr` command: tables on stdout, progress on stderr. No logic."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dr_assets import escape
from dr_assets.cli.output import console, say, say_table, say_text, styled
from dr_assets.core.model import Drift, Outcome
from dr_assets.core.topology import HOME
from dr_assets.drills.approval import VALID, token
from dr_assets.drills.plan import BOUNDS
from dr_assets.reconcile.service import JobResult, Verification, outcome_json, summary
from dr_assets.stack import SITES, Stack

if TYPE_CHECKING:
    from rich.text import Text

    from dr_assets.drills.parts import Condition, Override
    from dr_assets.drills.plan import Plan
    from dr_assets.drills.record_document import Record
    from dr_assets.drills.request import Prepared

_STYLES = {
    "in_sync": "green",
    "created": "cyan",
    "updated": "cyan",
    "waiting": "yellow",
    "drifted": "red",
    "absent": "red",
    "unknown": "magenta",
}


@contextmanager
def progress(verb: str, total: int, quiet: bool = False) -> Iterator[Callable[[Outcome], None]]:
    """A progress bar when stderr is a terminal, else one line per outcome that is not in sync."""
    if quiet:
        yield lambda _: None
        return
    if not console(err=True).is_terminal:

        def line(outcome: Outcome) -> None:
            if outcome.status != "in_sync":
                say(f"{verb}: {outcome.key} {outcome.status.replace('_', ' ')}", err=True)

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(err=True), transient=True) as bar:
        task = bar.add_task(verb, total=total)

        def tick(outcome: Outcome) -> None:
            bar.update(task, advance=1, description=escape.line(f"{verb} {outcome.key}")[:60].ljust(60))

        yield tick


def verification(result: Verification) -> None:
    """Print the differences, then the counts."""
    bad = [outcome for outcome in result.outcomes if outcome.status != "in_sync"]
    if bad:
        _outcomes(bad)
    counts = ", ".join(
        f"{n} {status.replace('_', ' ')}" for status, n in summary(result.outcomes).items() if status != "total"
    )
    writer = f"writer: {result.topology.writer or 'none yet'}" if result.topology else "writer: unknown"
    if result.problem:
        writer = "writer: outside both sites"
        say(result.problem)
    say(f"{len(result.outcomes)} resources: {counts}; {writer}; {result.api_calls} AWS calls in {result.seconds:.1f} s")


def _outcomes(outcomes: Sequence[Outcome]) -> None:
    rows: list[Sequence[object]] = []
    for outcome in outcomes:
        status = styled(outcome.status.replace("_", " "), _STYLES[outcome.status])
        drift: Sequence[Drift | None] = outcome.drift or (None,)
        for number, item in enumerate(drift):
            first = (outcome.key, status) if number == 0 else ("", "")
            rows.append((*first, outcome.reason, "", "") if item is None else (*first, item.field, *_sides(item)))
    say_table(("asset", "status", "field", "desired", "observed"), rows, no_wrap=("asset", "status"))


def outputs(values: Mapping[str, Any], unknown: Collection[str] = ()) -> None:
    width = max(map(len, values))
    for name, value in values.items():
        missing = "(unknown)" if name in unknown else "(absent)"
        say(f"{name:<{width}}  {missing if value is None else value}")


def status(stack: Stack, result: Verification) -> None:
    """Print the roles, then each layer of each site."""
    top = result.topology
    if top is None:
        say("Topology: unknown (AWS did not answer)")
    elif top.problem:
        say(f"Topology: {top.problem}")
    elif top.writer is None:
        say("Topology: no global cluster with a writer yet")
    else:
        where = "at home" if top.writer == HOME else "AWAY FROM HOME"
        moving = f", {top.in_transition} under way" if top.in_transition else ""
        say(f"Topology: writer at the {top.writer} site ({stack.region(top.writer)}), {where}{moving}")
    areas = sorted({outcome.key.split("/")[1] for outcome in result.outcomes})
    columns = (*SITES, "global")
    rows = [(area, *(_cell(result.outcomes, f"{column}/{area}/") for column in columns)) for area in areas]
    say_table(("layer", *columns), rows)
    say(
        f"Objectives: RPO < {stack.rpo_seconds} s, RTO < {stack.rto_seconds} s, detection within {stack.detection_seconds} s"
    )


def _cell(outcomes: Sequence[Outcome], prefix: str) -> Text:
    mine = [outcome for outcome in outcomes if outcome.key.startswith(prefix)]
    if not mine:
        return styled("-", style="dim")
    counts = summary(mine)
    if counts["in_sync"] == counts["total"]:
        return styled(f"{counts['total']} in sync", style="green")
    texts = [f"{n} {status.replace('_', ' ')}" for status, n in counts.items() if status != "total" and n]
    return styled(", ".join(texts), style="red")


def job(result: JobResult, verb: str) -> None:
    """Print the failures, then how many resources changed."""
    done = [outcome for outcome in result.outcomes if outcome.calls]
    for text in result.failures:
        say_text(f"failed: {text}", err=True, style="red")
    for check in result.failed_checks:
        say(f"check failed: {check}", err=True, style="red")
    state = "done" if result.success and not result.failed_checks else "NOT COMPLETE"
    say(f"{verb}: {state}; {len(result.outcomes)} resources, {len(done)} changed, {len(result.failures)} failed")


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
    say(f"{name}: {text}", err=True)


def plan_json(prepared: Prepared, overrides: Sequence[Override]) -> dict[str, Any]:
    """What `dr drill … --dry-run --json` prints."""
    return {
        "plan": prepared.plan.as_json(),
        "plan_hash": prepared.plan.hash,
        "token": token(prepared.plan, overrides),
        "steps": [{"step": name, "does": text} for name, text in prepared.plan.describe()],
        "preconditions": [condition.model_dump() for condition in prepared.conditions],
        "blocking": [condition.name for condition in prepared.blocking],
    }


def plan(wanted: Plan, overrides: Sequence[Override], err: bool = False) -> None:
    """Print everything that an approval of the plan covers, and the token that approves it elsewhere."""
    say(
        f"{wanted.scenario} of {wanted.stack}: writer from the {wanted.from_site} site ({wanted.from_region}) to the "
        f"{wanted.to_site} site ({wanted.to_region}, {wanted.target_arn or 'cluster unknown'})",
        err=err,
    )
    for number, (name, text) in enumerate(wanted.describe(), 1):
        say(f"  {number}. {name}: {text}", err=err)
    say("settings: " + ", ".join(f"{name} {getattr(wanted, name):g}" for name in BOUNDS), err=err)
    for item in overrides:
        say(f"override of {item.precondition} by {item.by}: {item.reason}", err=err, style="yellow")
    say(f"approve elsewhere within {VALID.seconds // 60} minutes: --plan {token(wanted, overrides)}", err=err)


def preconditions(prepared: Prepared, err: bool = False) -> None:
    """Print every precondition, and what blocks the plan."""
    _conditions("precondition", prepared.conditions, err)
    if prepared.blocking:
        names = ", ".join(condition.name for condition in prepared.blocking)
        text = f"Blocked by {len(prepared.blocking)} of {len(prepared.conditions)} preconditions: {names}"
        say(text, err=err, style="red")


def _conditions(word: str, conditions: Sequence[Condition], err: bool = False) -> None:
    words = {True: styled("holds", "green"), False: styled("FAILS", "red"), None: styled("unknown", "magenta")}
    rows = [(item.name, words[item.passed], item.reason or "") for item in conditions]
    say_table((word, "", "reason"), rows, err=err)


def record(written: Record) -> None:
    """Print a drill's figures against the objectives, its postconditions, and its record's hash."""
    scope, rto, rpo = written.scope, written.rto, written.rpo
    say(
        f"{written.scenario} {written.id}: {written.status}"
        + (f" ({written.reason})" if written.reason else "")
        + f"; writer moved from {scope.from_site} to {scope.to_site}"
    )
    parts = ", ".join(f"{name} {figure(value)}" for name, value in rto.parts.model_dump().items())
    interval = f"{figure(rto.low_seconds)} to {figure(rto.high_seconds)}"
    if rto.high_seconds is None:
        interval = figure(None, rto.low_seconds)
    lost = "unknown" if rpo.lost_commits is None else f"{rpo.lost_commits} of {rpo.acknowledged}"
    exposure = figure(written.exposure.seconds, written.exposure.at_least_seconds) if written.exposure else "unknown"
    rows = [
        ("RTO", interval, f"< {rto.target_seconds} s", _verdict(rto.met)),
        ("  parts", parts, "", ""),
        (
            "RPO, time",
            figure(rpo.lost_seconds, rpo.lost_at_least_seconds),
            f"< {rpo.target_seconds} s",
            _verdict(rpo.met),
        ),
        ("RPO, acknowledged commits lost", lost, "", ""),
        ("in doubt (not acknowledged, but present)", "unknown" if rpo.in_doubt is None else str(rpo.in_doubt), "", ""),
        ("exposure (no usable reader)", exposure, "", ""),
    ]
    if rto.client:
        ttl = figure(rto.client.dns_ttl_seconds)
        ttl = ttl if ttl == "unknown" else f"up to {ttl}"
        rows.insert(2, ("  DNS cache of the client (in traffic)", ttl, "", ""))
    say_table(("figure", "measured", "objective", ""), rows)
    _conditions("postcondition", written.postconditions)
    for text in written.deviations:
        say(f"deviation: {text}", style="yellow")
    say(f"record {written.hash[:12]}, chained to {(written.previous_hash or 'nothing')[:12]}")


def records(found: Sequence[Record], problems: Sequence[str], waiting: Sequence[str]) -> None:
    rows = []
    for item in found:
        cells = (
            (item.rto.high_seconds, item.rto.low_seconds),
            (item.rpo.lost_seconds, item.rpo.lost_at_least_seconds),
            (item.rpo.lost_commits, None),
        )
        rows.append((item.id, item.status, *(_bounded(*cell) for cell in cells)))
    say_table(("drill", "status", "RTO s", "RPO s", "lost"), rows)
    for text in problems:
        say(text, err=True, style="red")
    for name in waiting:
        say(f"waiting to be resumed: dr drill resume {name}", style="yellow")


def _bounded(value: float | None, at_least: float | None) -> str:
    if value is None:
        return "unknown" if at_least is None else f">= {at_least:g}"
    return f"{value:g}"


def figure(value: float | None, at_least: float | None = None) -> str:
    """Seconds, a lower bound, or unknown."""
    if value is None:
        return "unknown" if at_least is None else f"at least {at_least:.3f} s"
    return f"{value:.3f} s"


def _verdict(met: bool | None) -> Text:
    return styled("unknown", "magenta") if met is None else styled("met", "green") if met else styled("MISSED", "red")
