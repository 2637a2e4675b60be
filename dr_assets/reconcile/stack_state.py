"""One look at a stack in AWS: a concurrent snapshot, symbols resolved against it, and the loops over `converge`.

Used alike by the CLI (without Dagster) and by the Dagster adapters. May import `stack`, `errors`, `core`, `aws`, `kinds`
and `catalog`; knows neither Dagster nor anything local.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from dr_assets.aws import POOL, Aws, explain
from dr_assets.core.converge import ALREADY_THERE, converge, remove
from dr_assets.core.expressions import Role, UnknownScope, Unresolved, is_resolved, references, resolve
from dr_assets.core.model import Call, Drift, Kind, Observed, Outcome, Reads, Resource, Target, batches, error_code
from dr_assets.core.topology import NOTHING, Topology, parse_topology
from dr_assets.errors import AwsCallError, CredentialsError, DrError, RefusedError, UnansweredError
from dr_assets.resources.catalog import catalog
from dr_assets.resources.registry import KINDS
from dr_assets.stack import Site, Stack

# A look older than this is taken again before anything is said about the resource.
MAX_AGE_SECONDS = 120.0
# Steps one resource may take in one go: creation plus one call for each settable group of fields, with room.
MAX_STEPS = 40

# How often AWS may leave us without an answer, or without a sight of what it has just made, before we give up: about 6 s.
PATIENCE = 5

OnOutcome = Callable[[Outcome], None]


class World:
    """The stack as AWS shows it. Implements `core.converge.Driver`.

    Args:
        stack: what is wanted.
        aws: the clients.
        adopt: whether resources that Terraform manages may be changed.
        allow_away: whether to write although the writer is not at its home site.
    """

    def __init__(self, stack: Stack, aws: Aws, adopt: bool = False, allow_away: bool = False) -> None:
        self.stack, self.aws = stack, aws
        self.allow_away = allow_away
        self.resources: Mapping[str, Resource] = {resource.key: resource for resource in catalog(stack)}
        self._adopt = adopt
        self._account: str | None = None
        self._topology: Topology | DrError | None = None
        self._begun: dict[str, tuple[bool, tuple[Drift, ...], tuple[str, ...]]] = {}
        self._seen: dict[str, tuple[float, Observed | None | DrError | UnknownScope]] = {}

    # --- Scope -----------------------------------------------------------------------------------------------------

    @property
    def account(self) -> str:
        """The account number, asked once. Raises CredentialsError, UnansweredError."""
        if self._account is None:
            self._account = self.aws.account((self.stack.primary_region, self.stack.secondary_region))
        return self._account

    @property
    def topology(self) -> Topology:
        """Who is the writer, asked once for each snapshot. Raises UnansweredError, AwsCallError."""
        if self._topology is None:
            self._topology = self._read_topology(self.aws.reads(self.account))
        if isinstance(self._topology, DrError):
            raise self._topology
        return self._topology

    def role(self, site: Site) -> Role:
        try:
            return self.topology.role(site)
        except (UnansweredError, AwsCallError) as error:
            raise UnknownScope("global/aurora/global-cluster", str(error)) from error

    def field(self, key: str, field: str) -> Any:
        try:
            observed = self.look(self.resources[key])
        except (UnansweredError, AwsCallError) as error:
            raise UnknownScope(key, str(error)) from error
        if observed is None or observed.get(field) is None:
            return Unresolved(key, field)
        return observed[field]

    def name(self, resource: Resource) -> str:
        """Its name in AWS. Raises CredentialsError, UnansweredError where the account is not known yet."""
        return str(resolve(resource.name, self))

    def identity(self, resource: Resource) -> Mapping[str, Any]:
        """What it is found by, resolved."""
        found: Mapping[str, Any] = resolve(resource.identity, self)
        return found

    # --- Driver ----------------------------------------------------------------------------------------------------

    @property
    def adopt(self) -> bool:
        return self._adopt

    @property
    def reads(self) -> Reads:
        return self.aws.reads(self.account)

    def away(self) -> bool:
        try:
            return self.topology.away
        except (UnansweredError, AwsCallError) as error:
            raise UnknownScope("global/aurora/global-cluster", str(error)) from error

    def kind(self, name: str) -> Kind:
        return KINDS[name]

    def look(self, resource: Resource) -> Observed | None:
        """What AWS says of it, from the snapshot while that is fresh, else from a read of its own."""
        seen = self._seen.get(resource.key)
        if seen is None or time.monotonic() - seen[0] > MAX_AGE_SECONDS:
            self._read([resource], self.aws.reads(self.account))
            seen = self._seen[resource.key]
        if isinstance(seen[1], Exception):
            raise seen[1]
        return seen[1]

    def act(self, target: Target, call: Call) -> None:
        try:
            self.aws.act(call, target.region, self.account)
        except ClientError as error:
            if error_code(error) not in ALREADY_THERE:
                raise explain(error, call.service, call.operation, call.region or target.region) from error
        except Exception as error:
            raise explain(error, call.service, call.operation, call.region or target.region) from error
        finally:
            self.forget(target.key)

    def forget(self, *keys: str) -> None:
        """Take the next look at these afresh."""
        for key in keys:
            self._seen.pop(key, None)
            if key in ("global/aurora/global-cluster", "primary/aurora/cluster", "secondary/aurora/cluster"):
                self._topology = None

    # --- the snapshot ----------------------------------------------------------------------------------------------

    def snapshot(self, keys: Iterable[str] | None = None) -> None:
        """Read these resources (all by default) and what they need to be found, concurrently and each call once.

        Nothing is raised for a resource that AWS does not answer for: the later `look` raises. Raises CredentialsError.
        """
        _ = self.account
        reads = self.aws.reads(self.account, memo=True)
        wanted = list(self.resources if keys is None else keys)
        pending = {key: self.resources[key] for key in self._with_identities(wanted)}
        for key in pending:
            self._seen.pop(key, None)
        with ThreadPoolExecutor(POOL, thread_name_prefix="read") as pool:
            topology = pool.submit(self._read_topology, reads)
            while pending:
                ready = [r for r in pending.values() if not any(key in pending for key in _found_through(r))]
                if not ready:
                    raise RuntimeError(f"identities refer to each other in a circle: {sorted(pending)}")
                for resource in ready:
                    del pending[resource.key]
                self._read(ready, reads, pool)
            try:
                self._topology = topology.result()
            except (UnansweredError, AwsCallError) as error:
                self._topology = error

    def _with_identities(self, keys: Iterable[str]) -> list[str]:
        found: dict[str, None] = {}
        todo = list(keys)
        while todo:
            key = todo.pop()
            if key not in found:
                found[key] = None
                todo.extend(_found_through(self.resources[key]))
        return [key for key in self.resources if key in found]

    def _read(self, resources: Sequence[Resource], reads: Reads, pool: ThreadPoolExecutor | None = None) -> None:
        targets: list[Target] = []
        for resource in resources:
            try:
                identity = resolve(resource.identity, self)
                name = resolve(resource.name, self)
            except UnknownScope as error:
                self._saw(resource.key, error)
                continue
            if not (is_resolved(identity) and is_resolved(name)):
                self._saw(resource.key, None)  # it cannot be there without what it hangs on
                continue
            targets.append(Target(resource.key, resource.kind, resource.region, name, identity))
        groups = list(batches(targets))
        if pool is None:
            for (kind, region), batch in groups:
                self._read_batch(kind, region, batch, reads)
        else:
            for future in [
                pool.submit(self._read_batch, kind, region, batch, reads) for (kind, region), batch in groups
            ]:
                future.result()

    def _read_batch(self, kind: str, region: str, batch: Sequence[Target], reads: Reads) -> None:
        try:
            answers = KINDS[kind].read(reads, batch)
        except Exception as error:
            problem = explain(error, kind, "read", region)
            if isinstance(problem, CredentialsError):
                raise problem from error
            if isinstance(problem, AwsCallError) and not isinstance(error, (ClientError, DrError)):
                raise  # a fault of ours, not of AWS
            for target in batch:
                self._saw(target.key, problem)
            return
        for target in batch:
            self._saw(target.key, answers.get(target.key))

    def _saw(self, key: str, answer: Observed | None | DrError | UnknownScope) -> None:
        self._seen[key] = (time.monotonic(), answer)

    def _read_topology(self, reads: Reads) -> Topology:
        """From whichever region answers: a global cluster is visible from every region it has a member in."""
        name = self.stack.global_cluster_name
        problem: DrError | None = None
        for region in (self.stack.primary_region, self.stack.secondary_region):
            try:
                found = reads.call("rds", "describe_global_clusters", region, GlobalClusterIdentifier=name)
                return parse_topology(self.stack, next(iter(found["GlobalClusters"]), None))
            except Exception as error:
                if error_code(error) == "GlobalClusterNotFoundFault":
                    return NOTHING
                problem = explain(error, "rds", "describe_global_clusters", region)
                if not isinstance(problem, UnansweredError):
                    raise problem from error
        raise problem or UnansweredError("no region was asked for the global cluster")

    # --- the loops -------------------------------------------------------------------------------------------------

    def verify(self, keys: Iterable[str] | None = None, on_outcome: OnOutcome | None = None) -> list[Outcome]:
        """Compare everything with what is desired, writing nothing; outcomes in the order of the lineage."""
        wanted = set(self.resources if keys is None else keys)
        self.snapshot(wanted)
        outcomes = []
        for resource in self.resources.values():
            if resource.key in wanted:
                outcome = converge(resource, self, write=False)
                outcomes.append(outcome)
                if on_outcome:
                    on_outcome(outcome)
        return outcomes

    def settle(self, resource: Resource) -> Outcome:
        """Bring one resource to its desired state: look, take a step, look again. Ends in sync, waiting or unknown.

        The status is `created` or `updated` when steps were taken. A step that AWS did not answer is looked for before
        it is repeated, so nothing is made twice.

        Raises like `converge`; AwsCallError too when it does not come to rest.
        """
        first = converge(resource, self, write=False)
        # Steps of an earlier go that ended in waiting belong to this outcome too.
        created, drift, earlier = self._begun.pop(resource.key, (False, first.drift, ()))
        if first.status == "in_sync" and not earlier and not first.former:
            return first
        self.refuse_away_from_home()
        steps: list[str] = list(earlier)
        patience, last = _Patience(), None
        for _ in range(MAX_STEPS):
            self.forget(resource.key)
            try:
                # AWS took the creation but may not show it yet; creating again would make a second one.
                if created and self.look(resource) is None:
                    outcome, seen = (
                        Outcome(resource.key, "waiting", reason="created, but AWS does not show it yet"),
                        False,
                    )
                else:
                    outcome, seen = converge(resource, self, write=True), True
            except UnansweredError:
                if patience.spent():
                    raise
                continue
            steps.extend(outcome.calls)
            # A change that AWS took but does not show yet looks like the same drift again.
            unmoved = last is not None and bool(outcome.calls) and outcome.drift == last.drift
            last = outcome
            if unmoved or not seen or outcome.status == "unknown":
                if not patience.spent():
                    continue
                if unmoved:
                    outcome = replace(outcome, status="waiting", reason="AWS does not show the change yet")
            elif outcome.status in ("created", "updated"):
                created = created or outcome.status == "created"
                continue
            if outcome.status == "in_sync" and steps:
                return replace(outcome, status="created" if created else "updated", drift=drift, calls=tuple(steps))
            if outcome.status == "waiting":
                self._begun[resource.key] = (created, drift, tuple(steps))
            return replace(outcome, calls=tuple(steps))
        raise AwsCallError(f"{resource.key} did not come to rest after {MAX_STEPS} steps. Look at it in the console.")

    def dismantle(self, resource: Resource) -> Outcome:
        """Remove one resource, step by step; `absent` when gone, `waiting` while AWS is deleting it. Raises like `remove`."""
        steps: list[str] = []
        patience = _Patience()
        for _ in range(MAX_STEPS):
            self.forget(resource.key)
            try:
                outcome = remove(resource, self)
            except UnansweredError:
                if patience.spent():
                    raise
                continue
            if outcome.status == "unknown" and not patience.spent():
                continue
            if outcome.calls and outcome.calls[0] in steps[-1:] and patience.spent():
                break  # AWS took the deletion and still shows the thing
            steps.extend(outcome.calls)
            if not outcome.calls:
                return replace(outcome, calls=tuple(steps))
        return Outcome(resource.key, "waiting", reason="still being deleted", calls=tuple(steps))

    def refuse_away_from_home(self) -> None:
        """Raises RefusedError while the writer is not at its home site: home lineage would point the wrong way."""
        if self.topology.away and not self.allow_away:
            raise RefusedError(
                f"The writer is at the {self.topology.writer} site, away from home, so nothing is written. Verify works; "
                "bring the writer home first, or pass allow_away to write all the same."
            )


def refuse_destroy(stack: Stack, confirmation: str) -> str | None:
    """Why the stack may not be destroyed, or None."""
    if stack.deletion_protection:
        return (
            f"Stack {stack.environment_suffix} is protected: deletion_protection is true. To destroy it, set it to false in "
            "the stack file and provision once more."
        )
    if confirmation != stack.environment_suffix:
        return (
            f"Nothing was destroyed: the confirmation {confirmation!r} is not this stack's suffix "
            f"{stack.environment_suffix!r}. Give exactly that."
        )
    return None


class _Patience:
    """Backs off before the next look: about 0.1, 0.3, 0.6 … s, with jitter, until it is spent."""

    def __init__(self) -> None:
        self._tries = 0

    def spent(self) -> bool:
        """Wait, and say False; or say True at once when there have been enough waits."""
        self._tries += 1
        if self._tries > PATIENCE:
            return True
        time.sleep(0.1 * 2**self._tries * random.uniform(0.5, 1.0))
        return False


def _found_through(resource: Resource) -> tuple[str, ...]:
    """The resources whose fields are needed merely to find this one."""
    return references((resource.name, resource.identity))
