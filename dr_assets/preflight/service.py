"""Run the preflight: all checks for `dr preflight`, or those that a provisioning run needs, and refuse to write unless they pass."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version

from dr_assets import utc
from dr_assets.core.converge import converge
from dr_assets.core.expressions import plain
from dr_assets.core.model import Status
from dr_assets.errors import DrError, RefusedError
from dr_assets.preflight import account, drill_needs, observations, orderable, permissions, quotas
from dr_assets.preflight.report import AnswerLine, CheckLine, PreflightReport
from dr_assets.preflight.survey import Check, Finding, Survey, guarded
from dr_assets.reconcile.stack_state import StackState

# In the order in which they are shown.
CHECKS: tuple[Check, ...] = (
    *account.CHECKS[:3],
    *orderable.CHECKS,
    *quotas.CHECKS,
    *permissions.CHECKS,
    *account.CHECKS[3:],
    *drill_needs.CHECKS,
)
_THREADS = 8
# How often an essential check that is unknown is asked before it blocks.
ATTEMPTS = 3


class PreflightError(RefusedError):
    """The preflight did not pass: nothing was written. The text has one line for each check that blocks."""


def parse_skips(texts: Iterable[str]) -> dict[str, str]:
    """`NAME=REASON` texts as a table. Raises DrError for an unknown check or a missing reason."""
    known = [check.name for check in CHECKS]
    found: dict[str, str] = {}
    for text in texts:
        name, _, reason = text.partition("=")
        if name not in known:
            raise DrError(f"There is no preflight check {name!r}. The checks are {', '.join(known)}.")
        if not reason.strip():
            raise DrError(f"--skip {name} has no reason. Write --skip {name}=REASON: it is recorded with the run.")
        found[name] = reason.strip()
    return found


def examine(state: StackState, skips: Mapping[str, str] | None = None, answers: bool = True) -> PreflightReport:
    """Every check and, with `answers`, every open question. Writes nothing; raises nothing for what AWS answers."""
    started, before = time.monotonic(), len(state.aws.log)
    survey = Survey(state)
    # Each check has what it could not read.
    with contextlib.suppress(DrError):
        state.snapshot()
    lines = _lines(survey, CHECKS, skips or {})
    asked = observations.OBSERVATIONS if answers else ()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="preflight") as pool:
        found = list(pool.map(lambda each: guarded(lambda: each.read(survey)), asked))
    return _report(
        survey,
        lines,
        tuple(_answer(each, finding) for each, finding in zip(asked, found, strict=True)),
        len(state.aws.log) - before,
        time.monotonic() - started,
    )


def before_writing(
    state: StackState, keys: Iterable[str] | None = None, skips: Mapping[str, str] | None = None
) -> PreflightReport | None:
    """Examine what writing these resources (default: all) needs. None where nothing differs: then nothing is asked at all.

    The state's snapshot is used as it is. Quotas, permissions and the like are asked only where something is to be created.

    Raises:
        PreflightError: a check fails, or an essential one is unknown. Nothing was written.
    """
    started, before = time.monotonic(), len(state.aws.log)
    chosen = state.resources.keys() if keys is None else set(keys)
    wanted = [key for key in state.resources if key in chosen]
    statuses = {converge(state.resources[key], state, write=False).status for key in wanted}
    if statuses <= {"in_sync", "waiting"}:
        return None
    needed = _needed(statuses)
    lines: dict[str, CheckLine] = {}
    for attempt in range(ATTEMPTS):
        survey = Survey(state, only=wanted)  # its reads are made anew
        lines |= {line.name: line for line in _lines(survey, needed, skips or {})}
        # A garbled or late answer is no verdict: an essential check is asked again before it blocks.
        needed = [check for check in needed if check.essential and lines[check.name].status == "unknown"]
        if not needed:
            break
        if attempt < ATTEMPTS - 1:
            time.sleep(0.2 * 2**attempt)
    ordered = tuple(lines[check.name] for check in CHECKS if check.name in lines)
    report = _report(survey, ordered, (), len(state.aws.log) - before, time.monotonic() - started)
    if not report.passes:
        raise PreflightError(refusal(report))
    return report


def _needed(statuses: set[Status]) -> list[Check]:
    """The checks before a run in which resources have these statuses."""
    stages = {"write"}
    if "absent" in statuses:
        stages.add("create")
        if not statuses & {"in_sync", "waiting"}:
            stages.add("first")
    return [check for check in CHECKS if check.when in stages]


def refusal(report: PreflightReport) -> str:
    """Why nothing is written, one line for each check that blocks."""
    lines = [f"  - {line.name}: {line.detail}. {line.remedy}".rstrip() for line in report.blocking]
    return (
        "The preflight did not pass, so nothing was written:\n"
        + "\n".join(lines)
        + "\nCorrect it, or leave a check out with --skip NAME=REASON. `dr preflight` shows all checks."
    )


def _lines(survey: Survey, checks: Iterable[Check], skips: Mapping[str, str]) -> tuple[CheckLine, ...]:
    def one(check: Check) -> CheckLine:
        if check.name in skips:
            return _line(check, Finding("skipped", f"skipped: {skips[check.name]}"), skips[check.name])
        return _line(check, guarded(lambda: check.run(survey)), None)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="preflight") as pool:
        return tuple(pool.map(one, checks))


def _line(check: Check, finding: Finding, reason: str | None) -> CheckLine:
    bad = finding.status == "fails" or (finding.status == "unknown" and check.essential)
    return CheckLine(
        name=check.name,
        title=check.title,
        status=finding.status,
        detail=finding.detail,
        remedy=finding.remedy,
        essential=check.essential,
        blocks=bad and check.when != "report",
        skip_reason=reason,
        facts=plain(finding.facts),
    )


def _answer(each: observations.Observation, finding: Finding) -> AnswerLine:
    facts = dict(plain(finding.facts))
    value = facts.pop("value", None)
    return AnswerLine(
        name=each.name,
        question=each.question,
        status=finding.status,
        detail=finding.detail,
        switch=each.switch or None,
        value=value,
        facts=facts,
    )


def _report(
    survey: Survey, lines: tuple[CheckLine, ...], answers: tuple[AnswerLine, ...], calls: int, seconds: float
) -> PreflightReport:
    caller = next((line.facts for line in lines if line.name == "credentials"), {})
    stack = survey.stack
    return PreflightReport(
        at=utc.now(),
        product_version=_version(),
        stack=stack.environment_suffix,
        account=_text(caller.get("account")),
        principal=_text(caller.get("principal")),
        primary_region=stack.primary_region,
        secondary_region=stack.secondary_region,
        engine_version=stack.engine_version,
        instance_class=stack.instance_class,
        passes=not any(line.blocks for line in lines),
        checks=lines,
        answers=answers,
        api_calls=calls,
        seconds=round(seconds, 3),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _version() -> str:
    try:
        return version("dr-assets")
    except PackageNotFoundError:
        return "unknown"
