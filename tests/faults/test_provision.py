"""Cells of the fault matrix: provisioning and verification."""

from pathlib import Path

import pytest

from dr_assets.emulator import EmbeddedAws
from dr_assets.reconcile import progress, service
from dr_assets.resources.catalog import catalog
from dr_assets.stack import SITES, Stack
from tests.faults.drills import MODES
from tests.faults.matrix import Cell
from tests.faults.provision import FAULTS, Mortal, disturb, provisioning, verification
from tests.support.things import things, wanted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
# The others take minutes: processes that die one after the other, or retries that are waited out.
QUICK = "unanswered"


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=() if name == QUICK else pytest.mark.exhaustive) for name in FAULTS]
)
def test_it_converges_and_nothing_is_made_twice(
    cloud: EmbeddedAws,
    stack: Stack,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    # What a lost creation is waited for is AWS's delay in showing it, which the embedded AWS has only where it is told to.
    monkeypatch.setattr(progress, "LOST_SECONDS", 1.0)
    if fault.startswith("killed"):
        mortal = Mortal(stack, tmp_path, fault.removeprefix("killed-"))
        everything = "not exhaustive" not in request.config.option.markexpr
        mortal.run(deaths=200 if everything else 4)
        if everything:
            assert len(mortal.died_at) == len(provisioning().phases), mortal.died_at
    else:
        disturb(cloud, fault)
        Mortal(stack, tmp_path, "").run(deaths=0)
        left = [item for item in cloud.control.faults() if item["times"]]
        cloud.control.clear_faults()
        assert left == [], "each answer was given"
    found = [outcome for outcome in service.verify(stack).outcomes if outcome.status != "in_sync"]
    assert found == [], f"{fault}: {found}"
    assert things(stack) == wanted(stack, things(stack)), fault


@pytest.mark.parametrize("cell", verification().parameters())
def test_nothing_unknown_is_called_healthy_absent_or_drifted(cell: Cell, built: EmbeddedAws, stack: Stack) -> None:
    site = next(site for site in SITES if site == cell.phase)
    more = {"dark": {}, "slow": {"seconds": 3.0}}.get(cell.fault, {"rate": 0.5})
    built.control.fault(MODES[cell.fault], region=stack.region(site), **more)  # type: ignore[arg-type]
    found = {outcome.key: outcome for outcome in service.verify(stack).outcomes}
    built.control.clear_faults()
    assert set(found) == {resource.key for resource in catalog(stack)}, cell
    assert {outcome.status for outcome in found.values()} <= {"in_sync", "unknown"}, cell
    if cell.fault == "dark":
        own = [
            o for o in found.values() if o.key.startswith(site) and "/identity/" not in o.key and "/dns/" not in o.key
        ]
        assert {outcome.status for outcome in own} == {"unknown"}, cell
    assert service.verify(stack).in_sync, cell
