"""What a drill is going to do, as data that can be shown, approved and hashed before anything happens. Pure.

May import `stack`, `errors` and `core`.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from dr_assets.core.topology import HOME, Topology
from dr_assets.errors import RefusedError
from dr_assets.stack import SITES, Site, Stack

Scenario = Literal["switchover", "failover", "failback"]

# The steps, in order. Each records its intent before it does anything, and looks before it repeats.
STEPS: Sequence[tuple[str, str]] = (
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


@dataclass(frozen=True)
class Plan:
    """One drill. Rates are rows per second, times are seconds unless their name says otherwise."""

    scenario: Scenario
    stack: str
    from_site: Site
    to_site: Site
    from_region: str
    to_region: str
    rate: float = 20.0
    baseline_seconds: float = 3.0
    good_probes: int = 5
    probe_interval: float = 0.1
    lag_gate_ms: float = 1000.0
    follow_seconds: float = 900.0
    protect_seconds: float = 3600.0

    @property
    def act_region(self) -> str:
        """Planned: the writer's region. Unplanned: the target's, since the other one may be gone."""
        return self.to_region if self.scenario == "failover" else self.from_region

    @property
    def steps(self) -> tuple[str, ...]:
        return tuple(name for name, _ in STEPS)

    def describe(self) -> list[tuple[str, str]]:
        """(step, what it does), for people."""
        values = {
            "call": _CALLS[self.scenario],
            "region": self.act_region,
            "to": self.to_site,
            "from": self.from_site,
            "good_probes": self.good_probes,
            "lag_gate_ms": self.lag_gate_ms,
        }
        return [(name, text.format(**values)) for name, text in STEPS]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def hash(self) -> str:
        """SHA-256 (hex) over the plan's canonical JSON and its steps: what was approved is what is carried out."""
        text = json.dumps([self.as_json(), self.describe()], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def make_plan(stack: Stack, scenario: Scenario, topology: Topology, **settings: Any) -> Plan:
    """The plan that moves the writer from where it is.

    Raises RefusedError where there is nothing to move, or where a failback is asked for at home or another drill away.
    """
    writer = topology.writer
    if writer is None:
        raise RefusedError("There is no writer to move: the global cluster has no member. Run `dr provision` first.")
    if scenario == "failback" and writer == HOME:
        raise RefusedError("The writer is at home already: there is nothing to fail back.")
    target: Site = next(site for site in SITES if site != writer)
    return Plan(
        scenario, stack.environment_suffix, writer, target, stack.region(writer), stack.region(target), **settings
    )


def new_id(scenario: Scenario, at: datetime) -> str:
    """A drill's id: sorts by time, says what it is, never meets another (`20261123T190211Z-failover-3f9a2c`)."""
    return f"{at:%Y%m%dT%H%M%SZ}-{scenario}-{secrets.token_hex(3)}"
