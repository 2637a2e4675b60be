"""Snapshot a stack's observed state in AWS concurrently, and reconcile or delete its resources one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from dr_assets import escape
from dr_assets.aws import POOL, Aws, explain, is_answer
from dr_assets.aws_errors import fate
from dr_assets.core.converge import ALREADY_THERE, already_gone, converge, remove
from dr_assets.core.expressions import Role, UnknownScope, Unresolved, is_resolved, references, resolve
from dr_assets.core.model import Call, Drift, Kind, Observed, Outcome, Reads, Resource, Target, batches, error_code
from dr_assets.core.not_yet import not_yet
from dr_assets.core.topology import Topology
from dr_assets.core.unreadable import log_unreadable
from dr_assets.errors import AwsCallError, CredentialsError, DrError, NotYetError, RefusedError, UnansweredError
from dr_assets.reconcile.progress import (
    LOST_SECONDS,
    MAX_WRITES,
    PENDING_SECONDS,
    SHOW_SECONDS,
    Backoff,
    Progress,
    differences,
)
from dr_assets.reconcile.topology_reader import read_topology
from dr_assets.resources.catalog import catalog
from dr_assets.resources.registry import KINDS
from dr_assets.stack import Site, Stack

LOG = escape.logger(__name__)
# An observation older than this is read again before it is used.
MAX_AGE_SECONDS = 120.0
# Most calls to reconcile one resource: creation plus one call for each settable group of fields, with room.
MAX_STEPS = 40

OnOutcome = Callable[[Outcome], None]


class StackState:
    """Observed state of a stack. Implements `core.converge.Driver`.

    Args:
        stack: the desired stack.
        aws: its clients.
        adopt: change resources that Terraform manages, too.
        allow_away: write although the writer is not at its home site.
        clock: seconds, for how long AWS may take to show what it accepted.
    """

    def __init__(
        self,
        stack: Stack,
        aws: Aws,
        adopt: bool = False,
        allow_away: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stack, self.aws, self._clock = stack, aws, clock
        self.allow_away = allow_away
        self.resources: Mapping[str, Resource] = {resource.key: resource for resource in catalog(stack)}
        self._adopt = adopt
        self._account: str | None = None
        self._topology: Topology | DrError | None = None
        self._progress: dict[str, Progress] = {}
        self._created_at: dict[str, float] = {}
        self._refused: dict[str, CredentialsError] = {}  # region -> what the latest snapshot was answered there
        self._observations: dict[str, tuple[float, Observed | None | DrError | UnknownScope]] = {}

    # --- Scope -----------------------------------------------------------------------------------------------------

    @property
    def account(self) -> str:
        """The account number, read once. Raises CredentialsError, UnansweredError."""
        if self._account is None:
            self._account = self.aws.account((self.stack.primary_region, self.stack.secondary_region))
        return self._account

    @property
    def topology(self) -> Topology:
        """Roles of the sites, read once per snapshot. Raises UnansweredError, AwsCallError."""
        if self._topology is None:
            self._topology = read_topology(self.stack, self.aws.reads(self.account))
        if isinstance(self._topology, DrError):
            raise self._topology
        return self._topology

    def role(self, site: Site) -> Role:
        try:
            topology = self.topology
        except (UnansweredError, AwsCallError) as error:
            raise UnknownScope("global/aurora/global-cluster", str(error)) from error
        if topology.problem:
            raise UnknownScope("global/aurora/global-cluster", topology.problem)
        return topology.role(site)

    def field(self, key: str, field: str) -> Any:
        try:
            observed = self.observe(self.resources[key])
        except (UnansweredError, AwsCallError) as error:
            raise UnknownScope(key, str(error)) from error
        if observed is None or observed.get(field) is None:
            return Unresolved(key, field, present=observed is not None)
        return observed[field]

    def name(self, resource: Resource) -> str:
        """The resource's name in AWS. Raises CredentialsError, UnansweredError."""
        return str(resolve(resource.name, self))

    def identity(self, resource: Resource) -> Mapping[str, Any]:
        """The resolved fields by which AWS is searched for the resource."""
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

    def observe(self, resource: Resource) -> Observed | None:
        """The resource as AWS shows it (None: absent): from the snapshot while that is fresh, else from a read of its own.

        Raises UnansweredError, AwsCallError, UnknownScope.
        """
        latest = self._observations.get(resource.key)
        if latest is None or self._clock() - latest[0] > MAX_AGE_SECONDS:
            self._read([resource], self.aws.reads(self.account))
            latest = self._observations[resource.key]
        if isinstance(latest[1], Exception):
            raise latest[1]
        return latest[1]

    def act(self, target: Target, call: Call, drift: Sequence[Drift] = ()) -> None:
        progress = self._progress.setdefault(target.key, Progress())
        progress.check_repetition(target.key, call, drift, self._clock())
        call, creates, existed = progress.as_before(call), call.operation.startswith("create"), ""
        try:
            self.aws.act(call, target.region, self.account)
        except Exception as error:
            problem = explain(error, call.service, call.operation, call.region or target.region)
            code, became = error_code(error), fate(error)
            if became == "unknown":
                progress.lose(call, self._clock())
                if creates:
                    self._created_at[target.key] = self._clock()
                if not isinstance(
                    problem, UnansweredError
                ):  # an answer that cannot be understood: observed before it is repeated
                    problem = UnansweredError(str(problem))
            if code not in ALREADY_THERE and not already_gone(call.operation, code):
                if isinstance(error, ClientError) and became == "refused":
                    text = error.response.get("Error", {}).get("Message", "")
                    if row := not_yet(call.service, call.operation, code, text):
                        raise NotYetError(str(problem), row.seconds) from error
                raise problem from error
            existed = str(problem)
        finally:
            self.invalidate(target.key)
        progress.accept(call, drift, self._clock())
        progress.existed = existed
        if creates and not existed:
            self._created_at[target.key] = self._clock()

    def invalidate(self, *keys: str) -> None:
        """Read these resources again when they are next observed."""
        for key in keys:
            self._observations.pop(key, None)
            if key in ("global/aurora/global-cluster", "primary/aurora/cluster", "secondary/aurora/cluster"):
                self._topology = None

    # --- the snapshot ----------------------------------------------------------------------------------------------

    def snapshot(self, keys: Iterable[str] | None = None) -> None:
        """Read these resources (default: all) and those they are found through, concurrently, each call once.

        Where AWS does not answer for a resource, `observe` raises later, not this; so, too, where one region alone refuses the
        credentials (a site's own role; a region that the account has not enabled). Raises CredentialsError where every region does.
        """
        _ = self.account
        reads = self.aws.reads(self.account, memo=True)
        wanted = list(self.resources if keys is None else keys)
        pending = {key: self.resources[key] for key in self._with_identities(wanted)}
        regions = {resource.region for resource in pending.values()}
        self._observations = {key: each for key, each in self._observations.items() if key not in pending}
        self._refused.clear()
        with ThreadPoolExecutor(POOL, thread_name_prefix="read") as pool:
            topology = pool.submit(read_topology, self.stack, reads)
            while pending:
                ready = [r for r in pending.values() if not any(key in pending for key in _found_through(r))]
                if not ready:
                    raise RuntimeError(f"identities refer to each other in a circle: {sorted(pending)}")
                for resource in ready:
                    del pending[resource.key]
                self._read(ready, reads, pool)
            try:
                self._topology = topology.result()
            except (UnansweredError, AwsCallError, CredentialsError) as error:
                self._topology = UnansweredError(str(error)) if isinstance(error, CredentialsError) else error
        if regions and regions <= self._refused.keys():
            raise next(iter(self._refused.values()))

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
                self._record(resource.key, error)
                continue
            if not (is_resolved(identity) and is_resolved(name)):
                self._record(resource.key, None)  # absent with the resource it is found through
                continue
            targets.append(Target(resource.key, resource.kind, resource.region, name, identity))
        groups = list(batches(targets))
        if pool is None:
            for (kind, region), batch in groups:
                self._read_batch(kind, region, batch, reads)
        else:
            for future in [pool.submit(self._read_batch, *where, batch, reads) for where, batch in groups]:
                future.result()

    def _read_batch(self, kind: str, region: str, batch: Sequence[Target], reads: Reads) -> None:
        try:
            answers = KINDS[kind].read(reads, batch)
        except Exception as error:
            problem = explain(error, kind, "read", region)
            if isinstance(problem, CredentialsError):
                self._refused[region] = problem
                problem = UnansweredError(str(problem))
            if not is_answer(error):
                # An answer in a shape that AWS does not document, or a bug of ours: either way this kind alone is unknown.
                log_unreadable(LOG, f"{kind} in {region}", error)
            if len(batch) > 1 and not isinstance(problem, UnansweredError):
                for target in batch:  # so that one odd resource leaves its neighbours known
                    self._read_batch(kind, region, [target], reads)
                return
            for target in batch:
                self._record(target.key, problem)
            return
        for target in batch:
            self._record(target.key, answers.get(target.key))

    def _record(self, key: str, answer: Observed | None | DrError | UnknownScope) -> None:
        self._observations[key] = (self._clock(), answer)

    # --- the loops -------------------------------------------------------------------------------------------------

    def verify(self, keys: Iterable[str] | None = None, on_outcome: OnOutcome | None = None) -> list[Outcome]:
        """Compare these resources (default: all) with the stack, writing nothing; outcomes in lineage order."""
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

    def reconcile(self, resource: Resource) -> Outcome:
        """Converge one resource until it is stable.

        After a call that AWS did not answer, the resource is observed before anything is repeated: nothing is made twice.

        Returns in_sync, created, updated, waiting or unknown; drifted where it exists and works but something about it
        cannot be corrected (`reason` says what a person does): what needs it can go on.

        Raises:
            AwsCallError: AWS refused to create it, or does not show it.
            UnansweredError, ForeignResourceError, RefusedError: as `converge`.
        """
        first = converge(resource, self, write=False)
        progress = self._progress.get(resource.key)
        if progress is None and first.status == "in_sync" and not first.former:
            return first
        self.refuse_away_from_home()
        pending = frozenset(KINDS[resource.kind].pending(first.observed)) if first.observed else frozenset()
        progress = self._progress.setdefault(resource.key, Progress(drift=first.drift, pending=pending))
        backoff = Backoff()
        outcome = first
        for _ in range(MAX_STEPS):
            self.invalidate(resource.key)
            try:
                if reason := self._not_shown(resource, progress):
                    outcome = Outcome(resource.key, "waiting", progress.before, reason=reason)
                else:
                    outcome = converge(resource, self, write=True)
                    progress.refused_at = None  # another answer than "not yet"
            except NotYetError as error:
                if progress.waited(self._clock()) >= error.seconds:
                    return self._unhealed(resource, progress, AwsCallError(f"{error} (after {error.seconds:.0f} s)"))
                outcome = Outcome(resource.key, "waiting", reason=f"not yet: {error}")
            except UnansweredError:
                if backoff.exhausted():
                    raise
                continue
            except (AwsCallError, RefusedError) as error:
                return self._unhealed(resource, progress, error)
            progress.calls.extend(outcome.calls)
            if outcome.status in ("created", "updated"):
                progress.created = progress.created or outcome.status == "created"
            elif outcome.status == "in_sync":
                del self._progress[resource.key]
                if not progress.calls:
                    return outcome
                return replace(
                    outcome,
                    status="created" if progress.created and not progress.existed else "updated",
                    drift=progress.drift,
                    calls=tuple(progress.calls),
                )
            elif (outcome.status == "waiting" and outcome.observed is not None) or backoff.exhausted():
                return replace(outcome, calls=tuple(progress.calls))
        raise AwsCallError(f"{resource.key} still differs after {MAX_STEPS} calls. Look at it in the console.")

    def _not_shown(self, resource: Resource, progress: Progress) -> str | None:
        """Why to read again rather than write: AWS may not show yet what it accepted. None: go on.

        Raises AwsCallError where AWS accepted the creation and has not shown the resource for SHOW_SECONDS.
        """
        try:
            observed = self.observe(resource)
            desired = resolve(resource.desired, self)
        except (UnansweredError, AwsCallError, UnknownScope):
            return None
        now = self._clock()
        if observed is None:
            if progress.created:
                if now - progress.written_at > SHOW_SECONDS:
                    answer = (
                        "accepted its creation"
                        if not progress.existed
                        else f"answered that it exists ({progress.existed})"
                    )
                    raise AwsCallError(
                        f"{resource.key}: AWS {answer} {SHOW_SECONDS:.0f} s ago and does not show it. Look for it "
                        "in the console, then run again."
                    )
                return f"{'exists' if progress.existed else 'created'}, but AWS does not show it yet"
            # Made again, what has no name of its own would exist twice if the unanswered call was carried out after all.
            left = 0.0 if progress.lost_at is None else LOST_SECONDS - (now - progress.lost_at)
            if left > 0 and KINDS[resource.kind].unnamed:
                return f"its creation was not answered; AWS may show it for {left:.0f} s more, and made again it could exist twice"
            return self._settling(resource, now)
        kind = KINDS[resource.kind]
        shown = differences(kind, desired, observed)
        if shown is None:
            return None  # `converge` reports it as unknown
        drift, pending = shown
        own = [name for name in pending if name not in progress.pending]
        if own and progress.calls and now - progress.written_at < PENDING_SECONDS:
            return f"AWS accepted the change and is making it: {', '.join(own)}"
        if progress.before and drift == progress.before and now - progress.written_at < SHOW_SECONDS / MAX_WRITES:
            return f"AWS accepted the change and does not show it yet: {', '.join(item.field for item in drift)}"
        progress.before = ()
        return None

    def _settling(self, resource: Resource, now: float) -> str | None:
        """Why it may not be created yet: something it needs was created by this process too short a time ago."""
        for need in self._created_at.keys() & {*resource.needs}:
            if (left := KINDS[self.resources[need].kind].settle_seconds() - (now - self._created_at[need])) > 0:
                return f"{need} was just created and AWS may need {left:.0f} s more until it can be used"
        return None

    def _unhealed(self, resource: Resource, progress: Progress, error: DrError) -> Outcome:
        """`drifted` where the resource exists and is ready: only its own correction fails. Raises `error` otherwise."""
        found = converge(resource, self, write=False)
        if found.observed is None or found.status not in ("drifted", "in_sync"):
            raise error
        return replace(found, status="drifted", reason=str(error), calls=tuple(progress.calls))

    def delete(self, resource: Resource) -> Outcome:
        """Delete one resource: `absent` when it is gone, `waiting` while AWS is deleting it. Raises like `core.converge.remove`."""
        calls: list[str] = []
        backoff, progress = Backoff(), self._progress.setdefault(resource.key, Progress())
        progress.deleting = True
        for _ in range(MAX_STEPS):
            self.invalidate(resource.key)
            try:
                outcome = remove(resource, self)
            except (BotoCoreError, ClientError) as error:  # of a read for the deletion alone
                raise explain(error, resource.kind, "read", resource.region) from error
            except NotYetError as error:
                if progress.waited(self._clock()) >= error.seconds:
                    raise AwsCallError(f"{error} (after {error.seconds:.0f} s)") from error
                if backoff.exhausted():
                    return Outcome(resource.key, "waiting", reason=f"not yet: {error}", calls=tuple(calls))
                continue
            except UnansweredError:
                if backoff.exhausted():
                    raise
                continue
            if outcome.status == "unknown" and not backoff.exhausted():
                continue
            calls.extend(outcome.calls)
            if outcome.status == "absent":
                del self._progress[resource.key]
            if not outcome.calls:
                return replace(outcome, calls=tuple(calls))
        return Outcome(resource.key, "waiting", reason="still being deleted", calls=tuple(calls))

    def refuse_away_from_home(self) -> None:
        """Raises RefusedError while the writer is away from its home site: the lineage would run the wrong way.

        A writer outside both sites cannot be overridden.
        """
        self.topology.refuse_outside()
        if self.topology.away and not self.allow_away:
            raise RefusedError(
                f"The writer is at the {self.topology.writer} site, away from home, so nothing is written. Verify works; "
                "bring the writer home first, or pass allow_away to override."
            )


def _found_through(resource: Resource) -> tuple[str, ...]:
    """Keys of the resources whose fields are needed to find this one."""
    return references((resource.name, resource.identity))
