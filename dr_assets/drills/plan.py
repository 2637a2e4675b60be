"""What a drill is going to do, as data that can be shown, approved and hashed before anything happens."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from dr_assets.core.topology import HOME, Topology
from dr_assets.documents import Part, problems, sha256_of
from dr_assets.drills.parts import Number, Whole
from dr_assets.errors import RefusedError
from dr_assets.stack import SITES, Site, Stack

Scenario = Literal["switchover", "failover", "failback"]
StepName = Literal["baseline", "act", "follow", "recovered", "fence", "count", "protected", "postconditions"]

# The steps, in order. Each records its intent before it acts, and observes AWS before it repeats anything. The texts are hashed.
STEPS: Sequence[tuple[StepName, str]] = (
    ("baseline", "write the ledger and probe the global writer endpoint until both are steady"),
    ("act", "{call}, in {region}"),
    ("follow", "follow the change in DescribeGlobalClusters, in RDS events and by SQL until {to} is the writer"),
    ("recovered", "wait for {good_probes} consecutive good writes through the global writer endpoint"),
    ("fence", "attempt a write at the old writer: it must be refused"),
    ("count", "compare what was acknowledged with what the new writer holds"),
    ("protected", "wait until {from} is a reader again and its lag is back within {lag_gate_ms:.0f} ms"),
    ("postconditions", "topology, secrets, buckets, and a verification that finds zero drift"),
)
_CALLS = {
    "switchover": "SwitchoverGlobalCluster",
    "failback": "SwitchoverGlobalCluster",
    "failover": "FailoverGlobalCluster(AllowDataLoss=True)",
}

LAG_GATE_MS, GOOD_PROBES = 1000.0, 5
# Least and most of every number of a plan. Nothing lifts a bound: outside it a setting measures nothing, gates nothing, or never ends.
# The lag gate ends at the RPO where that is lower.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "rate": (1.0, 1000.0),
    "baseline_seconds": (0.2, 300.0),
    "good_probes": (3, 100),
    "probe_interval": (0.01, 1.0),
    "lag_gate_ms": (1.0, 300_000.0),
    "follow_seconds": (60.0, 7200.0),
    "protect_seconds": (60.0, 86_400.0),
}


class Plan(Part):
    """One drill. Rates are rows per second, times are seconds unless their name says otherwise.

    target_arn: the cluster that becomes the writer, and with it the account; None in plans of earlier versions.
    """

    scenario: Scenario
    stack: str
    from_site: Site
    to_site: Site
    from_region: str
    to_region: str
    rate: Number = 20.0
    baseline_seconds: Number = 3.0
    good_probes: Whole = GOOD_PROBES
    probe_interval: Number = 0.1
    lag_gate_ms: Number = LAG_GATE_MS
    follow_seconds: Number = 900.0
    protect_seconds: Number = 3600.0
    target_arn: str | None = None

    @property
    def act_region(self) -> str:
        """Planned: the writer's region. Unplanned: the target's, since the other one may be gone."""
        return self.to_region if self.scenario == "failover" else self.from_region

    @property
    def protected_lag_ms(self) -> float:
        """The most lag (milliseconds) of a reader that protects the data: a gate that was widened for the move widens no proof."""
        return min(self.lag_gate_ms, LAG_GATE_MS)

    @property
    def steps(self) -> tuple[StepName, ...]:
        return tuple(name for name, _ in STEPS)

    def describe(self) -> list[tuple[StepName, str]]:
        """(step, what it does), for people."""
        values = {
            "call": _CALLS[self.scenario],
            "region": self.act_region,
            "to": self.to_site,
            "from": self.from_site,
            "good_probes": self.good_probes,
            "lag_gate_ms": self.protected_lag_ms,
        }
        return [(name, text.format(**values)) for name, text in STEPS]

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)

    @property
    def hash(self) -> str:
        """SHA-256 (hex) over the plan's canonical JSON and its steps: what was approved is what is carried out."""
        return sha256_of([self.as_json(), self.describe()])


def make_plan(stack: Stack, scenario: Scenario, topology: Topology, **settings: Any) -> Plan:
    """The plan that moves the writer from where it is.

    Raises RefusedError where there is nothing to move, where a failback is requested while the writer is at home, for settings that
    no plan has, and for numbers out of BOUNDS.
    """
    writer = topology.writer
    topology.refuse_outside()
    if writer is None:
        raise RefusedError("There is no writer to move: the global cluster has no member. Run `dr provision` first.")
    if scenario == "failback" and writer == HOME:
        raise RefusedError("The writer is at home already: there is nothing to fail back.")
    target: Site = next(site for site in SITES if site != writer)
    known: dict[str, Any] = {"target_arn": topology.members[target]} if target in topology.members else {}
    try:
        plan = Plan(
            scenario=scenario,
            stack=stack.environment_suffix,
            from_site=writer,
            to_site=target,
            from_region=stack.region(writer),
            to_region=stack.region(target),
            **known,
            **settings,
        )
    except ValidationError as error:
        raise RefusedError(f"The settings of the {scenario} are wrong: {'; '.join(problems(error))}.") from error
    if outside := out_of_bounds(plan, stack):
        raise RefusedError(f"The settings of the {scenario} are wrong: {'; '.join(outside)}.")
    return plan


def widest_lag_gate_ms(stack: Stack) -> float:
    """The most lag (milliseconds) that any plan may let through: the RPO, at most five minutes."""
    return min(BOUNDS["lag_gate_ms"][1], stack.rpo_seconds * 1000.0)


def out_of_bounds(plan: Plan, stack: Stack) -> list[str]:
    """Each number of the plan that lies outside its bounds, in words; also of one that was stored."""
    bounds = {**BOUNDS, "lag_gate_ms": (BOUNDS["lag_gate_ms"][0], widest_lag_gate_ms(stack))}
    found = []
    for name, (least, most) in bounds.items():
        value = getattr(plan, name)
        if not least <= value <= most:
            hint = f" (the RPO is {stack.rpo_seconds} s)" if name == "lag_gate_ms" else ""
            found.append(f"{name} is {value:g}; it must lie between {least:g} and {most:g}{hint}")
    return found


def new_id(scenario: Scenario, at: datetime) -> str:
    """A drill's id: sorts by time, names the scenario, unique (`20261123T190211Z-failover-3f9a2c`)."""
    return f"{at:%Y%m%dT%H%M%SZ}-{scenario}-{secrets.token_hex(3)}"
