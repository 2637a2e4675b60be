"""Each version that constraints.txt pins can be installed on every Python that it is pinned for, the oldest supported one included."""

from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10.0", "3.11.0", "3.11.2", "3.12.0", "3.13.0")


def test_a_pin_that_a_python_cannot_install_does_not_hold_for_it() -> None:
    installed = {canonicalize_name(each.metadata["Name"]): each for each in distributions()}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    wrong = []
    for line in lines:
        pin = Requirement(line)
        found = installed.get(canonicalize_name(pin.name))
        if found is None or found.version not in pin.specifier:
            continue
        needs = SpecifierSet(found.metadata.get("Requires-Python") or "")
        for python in PYTHONS:
            environment = {"python_full_version": python, "python_version": python.rsplit(".", 1)[0]}
            if (pin.marker is None or pin.marker.evaluate(environment)) and not needs.contains(python):
                wrong.append(f"{pin.name} {found.version} needs Python {needs}, pinned for {python}")
    assert wrong == []
