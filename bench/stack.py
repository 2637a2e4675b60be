"""DR Assets against Terraform, side by side in one run, on one embedded AWS each; prints a table of ratios.

    python -m bench.stack [--rounds 3]

Wall times are of whole processes (start, imports and all), taken in turn A B A B so that a machine that slows down slows
both; what counts are the ratios. `dr verify` and a `dr provision` that changes nothing stand against `terraform plan
-refresh-only`, a first `dr provision` against `terraform apply`. Without Terraform our own side is measured alone. The least
number of AWS calls is what the kinds declare: see `least_calls`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dr_assets.emulator import EmbeddedAws
from dr_assets.resources.catalog import catalog
from dr_assets.resources.registry import KINDS
from dr_assets.stack import load_stack
from tests.support.terraform import Terraform, TerraformMissingError

ROOT = Path(__file__).resolve().parent.parent


def least_calls() -> int:
    """The fewest calls AWS allows for one verification: the caller's identity, and what the kinds declare."""
    resources = catalog(load_stack())
    each = sum(KINDS[resource.kind].least_reads[0] for resource in resources)
    batches = {(resource.kind, resource.region) for resource in resources}
    return 1 + each + sum(KINDS[kind].least_reads[1] for kind, _ in batches)


def timed(command: list[str], env: dict[str, str]) -> float:
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    dr = [sys.executable, "-m", "dr_assets.cli.main"]
    with EmbeddedAws() as ours, EmbeddedAws() as theirs, tempfile.TemporaryDirectory() as folder:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "DR_", "DAGSTER"))} | ours.env()
        first = timed([*dr, "provision", "--poll", "0.2"], env)
        ours.control.clear_calls()
        timed([*dr, "verify"], env)
        calls = len(ours.control.calls())

        terraform: Terraform | None = Terraform(ROOT / "infra", Path(folder), theirs.endpoint_url)
        try:
            terraform.init()
        except TerraformMissingError as error:
            print(f"Terraform is not measured: {error}")
            terraform = None
        apply_seconds = 0.0
        if terraform:
            started = time.monotonic()
            terraform.apply()
            apply_seconds = time.monotonic() - started

        verify, provision, plan = [], [], []
        for _ in range(rounds):
            verify.append(timed([*dr, "verify"], env))
            if terraform:
                started = time.monotonic()
                terraform.run("plan", "-refresh-only", "-input=false", "-no-color")
                plan.append(time.monotonic() - started)
            provision.append(timed([*dr, "provision"], env))

    def row(name: str, mine: list[float], other: list[float]) -> str:
        m = statistics.median(mine)
        if not other:
            return f"| {name} | {m:.1f} s | - | - |"
        o = statistics.median(other)
        return f"| {name} | {m:.1f} s | {o:.1f} s | {m / o:.2f} |"

    print(f"\n{len(catalog(load_stack()))} resources, {os.cpu_count()} cores, median of {rounds} rounds, in turn\n")
    print("| | DR Assets | Terraform | ratio |\n|---|---|---|---|")
    print(row("`dr verify` / `terraform plan -refresh-only`", verify, plan))
    print(row("`dr provision`, nothing to change / `terraform plan -refresh-only`", provision, plan))
    print(row("first `dr provision` / `terraform apply`", [first], [apply_seconds] if apply_seconds else []))
    least = least_calls()
    print(f"\nAWS calls of one verification: {calls}; the least the APIs allow: {least}; ratio {calls / least:.2f}")


if __name__ == "__main__":
    main()
