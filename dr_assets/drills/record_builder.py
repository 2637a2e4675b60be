"""Builds a drill's record from its journal and writes it: the evidence a drill leaves for people and auditors."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dr_assets import utc
from dr_assets.documents import DocumentError, storable
from dr_assets.drills import record, statements
from dr_assets.drills.consistency import contradictions
from dr_assets.drills.journal import Baseline, Count, Journal, Postconditions, Protected, Recovered
from dr_assets.drills.parts import ClockStep, CorrectiveAction, CountedCall, Reconciliation
from dr_assets.drills.proposal import proposed
from dr_assets.drills.record_document import Draft, Exposure, Record, Rpo, Rto, Scope, Status, Who, objective_met
from dr_assets.errors import DrError
from dr_assets.history.store import Store
from dr_assets.stack import Stack


def finish(stack: Stack, store: Store, journal: Journal, status: Status, reason: str | None) -> Record:
    """Write the record, chained to the one before it, end the journal, and sign the head of the chain.

    A record that exists already is left as it is.
    """
    existing = [item for item in record.load(store, stack.environment_suffix) if item.id == journal.drill]
    if existing:
        written = existing[0]
    else:
        written = record.append(store, storable(draft(stack, store, journal, status, reason).to_json()))
    journal.end(written.status)
    statements.sign_after_record(store, stack.environment_suffix)
    return written


def draft(stack: Stack, store: Store, journal: Journal, status: Status, reason: str | None) -> Draft:
    """The record without its hashes. Figures that were not measured are None, and so is whether they met their target."""
    plan, request = journal.plan, journal.document.request
    reconciliation = _reconciliation(store, journal)
    baseline, counted = journal.result(Baseline), journal.result(Count)
    postconditions = journal.result(Postconditions)
    built = Draft(
        id=journal.drill,
        kind=request.kind,
        scenario=plan.scenario,
        stack=stack.environment_suffix,
        status=status,
        reason=reason,
        started_at=request.at,
        ended_at=journal.now_text(),
        who=Who(
            operator=request.operator,
            approved_by=request.approved_by,
            caller_arn=journal.caller_arn()
            or (counted and counted.caller_arn)
            or (baseline and baseline.caller_arn)
            or None,
            callers=journal.document.callers,
        ),
        why=request.why,
        scope=Scope(
            from_site=plan.from_site,
            to_site=plan.to_site,
            from_region=plan.from_region,
            to_region=plan.to_region,
            database=stack.database_name,
            tables=("dr_drill.dr_ledger",),
        ),
        plan_hash=journal.document.plan_hash,
        product_version=product_version(),
        preconditions=journal.document.conditions or request.conditions,
        overrides=request.overrides,
        timeline=tuple(sorted(journal.document.timeline, key=lambda entry: entry.at)),
        rto=_rto(stack, journal),
        rpo=_rpo(stack, store, journal),
        exposure=_exposure(journal),
        calls=_counted(journal.document.calls),
        postconditions=postconditions.conditions if postconditions else (),
        deviations=journal.document.deviations,
        corrective_actions=request.corrective_actions,
        reconciliation=reconciliation,
    )
    consistent = _consistent(built)
    actions = (*consistent.corrective_actions, *_actions(consistent))
    return consistent.model_copy(update={"corrective_actions": actions})


def _rto(stack: Stack, journal: Journal) -> Rto:
    recovered = journal.result(Recovered)
    if recovered is None or recovered.rto is None:
        return Rto.unknown(stack.rto_seconds)
    found = recovered.rto
    return Rto.measured(found.low_seconds, found.high_seconds, found.parts, stack.rto_seconds, found.client)


def _rpo(stack: Stack, store: Store, journal: Journal) -> Rpo:
    counted = journal.result(Count)
    if counted is None:
        return Rpo.unknown(stack.rpo_seconds)
    optional: dict[str, Any] = {"lost_at_least_seconds": counted.lost_at_least_seconds, "ledger_sha256": None}
    with contextlib.suppress(KeyError, DrError):
        optional["ledger_sha256"] = hashlib.sha256(store.read(counted.ledger)).hexdigest()
    return Rpo(
        lost_commits=counted.lost_commits,
        lost_seconds=counted.lost_seconds,
        in_doubt=counted.in_doubt,
        acknowledged=counted.acknowledged,
        survived=counted.survived,
        target_seconds=stack.rpo_seconds,
        met=objective_met(counted.lost_seconds, stack.rpo_seconds, counted.lost_at_least_seconds),
        **{name: value for name, value in optional.items() if value is not None},
    )


def _exposure(journal: Journal) -> Exposure | None:
    """From the moment the old reader stopped protecting the data (the call, or the last good write before it).

    Both are times of the drill's timeline, which follows a monotonic clock. Where a second clock had to be used, and was behind
    the first, the duration is unknown.
    """
    called = journal.marked("T3")
    if called is None:
        return None
    protected = journal.result(Protected)
    since = min(called, journal.marked("T0") or called)
    return Exposure.between(since, protected.at if protected else None, journal.now_text())


def _consistent(draft: Draft) -> Draft:
    """The draft with each claim that contradicts its figures recorded as unknown, and named as a deviation.

    A measurement that cannot be (a clock that was set, a fault of ours) must not cost the record, and must not count as good.
    """
    found = contradictions(draft)
    if not found:
        return draft
    changes: dict[str, Any] = {
        "deviations": (
            *draft.deviations,
            *(f"recorded as unknown, because it contradicts itself: {text}" for text in found),
        )
    }
    for text in found:
        match re.split(r"\W", text, maxsplit=1)[0]:
            case "rto":
                changes["rto"] = Rto.unknown(draft.rto.target_seconds)
            case "rpo":
                changes["rpo"] = Rpo.unknown(draft.rpo.target_seconds)
            case "exposure" if draft.exposure:
                changes["exposure"] = draft.exposure.model_copy(update={"seconds": None})
            case "timeline":
                changes["timeline"] = tuple(entry.model_copy(update={"mark": None}) for entry in draft.timeline)
            case "corrective_actions":
                changes["corrective_actions"] = tuple(
                    action.model_copy(update={"due": None}) for action in draft.corrective_actions
                )
            case "status":
                changes |= {"status": "failed", "reason": draft.reason or text}
            case "ended_at":
                back = (utc.parse(draft.ended_at) - utc.parse(draft.started_at)).total_seconds()
                step = ClockStep(at=draft.ended_at, seconds=back)
                changes["clock_steps"] = (*draft.clock_steps, step)
    return draft.model_copy(update=changes)


def _counted(calls: Sequence[CountedCall]) -> tuple[CountedCall, ...]:
    """The calls of all steps: one entry for each phase, region, service, operation."""
    total: Counter[tuple[str, str, str, str, str]] = Counter()
    for call in calls:
        total[call.phase or "", call.region, call.service, call.operation, call.plane] += call.count
    return tuple(
        CountedCall(phase=phase, region=region, service=service, operation=operation, plane=plane, count=count)
        for (phase, region, service, operation, plane), count in sorted(total.items())
    )


def _reconciliation(store: Store, journal: Journal) -> Reconciliation | None:
    """The proposal made for this drill, if any. A damaged one is a deviation: it must not cost the record."""
    try:
        return proposed(store, journal.plan.stack, journal.drill)
    except DocumentError as error:
        journal.deviate(str(error))
        return None


def _actions(draft: Draft) -> tuple[CorrectiveAction, ...]:
    """What the drill left to be done, without an owner yet: its failure, objectives that it does not prove, overrides."""
    texts = []
    if draft.status != "succeeded":
        texts.append(f"Find and remove the cause: {draft.reason}")
    for name, met, target in (
        ("RTO", draft.rto.met, draft.rto.target_seconds),
        ("RPO", draft.rpo.met, draft.rpo.target_seconds),
    ):
        if met is False:
            texts.append(f"Find and remove the cause of the missed {name}: it was not under {target:g} s")
        elif met is None and draft.status == "succeeded":
            texts.append(f"Find out why the {name} is unknown, and repeat the drill")
    texts += [f"Remove the cause of the override of {item.precondition}: {item.reason}" for item in draft.overrides]
    return tuple(CorrectiveAction(text=text, owner="unassigned", due=None) for text in texts)


def product_version() -> str:
    try:
        return version("dr-assets")
    except PackageNotFoundError:
        return "not installed"


def operator() -> str:
    """The person at the keyboard, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
