"""Dagster resource for AWS: the run's mode (verify or provision), and one observed stack state shared by its steps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from os import environ
from typing import Any, Literal

import dagster as dg
from dagster_aws.utils import ResourceWithBoto3Configuration
from pydantic import Field, PrivateAttr

from dr_assets.aws import PROVISIONING_SILENCE, READ_ATTEMPTS, Aws
from dr_assets.aws_session import AwsSession
from dr_assets.core.model import Outcome
from dr_assets.errors import DrError, UnansweredError
from dr_assets.preflight.report import PreflightReport
from dr_assets.preflight.service import before_writing
from dr_assets.reconcile.stack_state import StackState
from dr_assets.stack import load_stack

Mode = Literal["verify", "provision"]
MODE_VARIABLE = "DR_MODE"

# Set by a caller that runs a job in its own process (the `dr` command) to receive outcomes as they come.
PROGRESS: ContextVar[Callable[[Outcome], None] | None] = ContextVar("dr_progress", default=None)


@contextmanager
def as_dagster_failure(*passed: type[DrError]) -> Iterator[None]:
    """Raises a DrError (but not one of `passed`) as dg.Failure with the same text; Dagster does not retry it."""
    try:
        yield
    except passed:
        raise
    except DrError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


class AwsStack(ResourceWithBoto3Configuration):
    """Boto3 configuration, the role to assume, and how a run treats the stack.

    `mode` defaults to the variable DR_MODE, then to verify: without an explicit setting nothing is written to AWS.
    With the in-process executor one instance serves the whole run, so its steps share one snapshot.
    """

    mode: str = Field(default="", description="'verify' or 'provision'; empty: DR_MODE, else verify")
    adopt: bool = Field(default=False, description="Change resources that Terraform manages, too")
    allow_away: bool = Field(default=False, description="Write although the writer is not at its home site")
    poll_seconds: float = Field(
        default=15.0,
        ge=0,
        le=600,
        allow_inf_nan=False,
        description="Seconds between observations of a resource that is not ready, at most 600",
    )
    wait_seconds: float = Field(
        default=3600.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds a resource may take to become ready, at most a day",
    )
    preflight_skips: dict[str, str] = Field(
        default={}, description="Checks of the preflight to leave out, each with its reason"
    )
    role_arn: str | None = Field(default=None, description="IAM role to assume; default: those of DR_ROLE_ARN")

    _stack_state: StackState | None = PrivateAttr(default=None)
    _snapshot_taken: bool = PrivateAttr(default=False)
    _preflight: PreflightReport | Exception | None = PrivateAttr(default=None)
    _preflight_done: bool = PrivateAttr(default=False)
    _settled: set[str] = PrivateAttr(default_factory=set)
    _unhealed: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def effective_mode(self) -> Mode:
        """Raises dg.Failure for an unknown mode."""
        mode = self.mode or environ.get(MODE_VARIABLE, "") or "verify"
        if mode not in ("verify", "provision"):
            raise dg.Failure(
                f"mode {mode!r} does not exist: use 'verify' or 'provision' (run config or {MODE_VARIABLE}).",
                allow_retries=False,
            )
        return "provision" if mode == "provision" else "verify"

    @property
    def writes(self) -> bool:
        return self.effective_mode == "provision"

    def stack_state(self) -> StackState:
        """The run's StackState; the first call reads the stack file. Raises dg.Failure."""
        if self._stack_state is None:
            silence = PROVISIONING_SILENCE if self.writes else None
            with as_dagster_failure():
                aws = Aws(self._session(), attempts=max(self.max_attempts, READ_ATTEMPTS), silence=silence)
                self._stack_state = StackState(load_stack(), aws, adopt=self.adopt, allow_away=self.allow_away)
        return self._stack_state

    def snapshot(self, selected: frozenset[str] | None) -> StackState:
        """The run's StackState; the first call reads everything the run selected (None: the whole stack) concurrently."""
        state = self.stack_state()
        if not self._snapshot_taken:
            self._snapshot_taken = True
            with as_dagster_failure():
                state.snapshot(None if selected is None else selected & state.resources.keys())
        return state

    def preflight(self, selected: frozenset[str] | None) -> PreflightReport | None:
        """The report of the run's preflight, the first time it is asked for; None later, and where nothing is to be written.

        Raises dg.Failure for every step of the run where it does not pass: nothing is written then.
        """
        first, self._preflight_done = not self._preflight_done, True
        if first:
            state = self.snapshot(selected)
            keys = None if selected is None else selected & state.resources.keys()
            try:
                self._preflight = before_writing(state, keys, self.preflight_skips)
            except Exception as error:  # whatever it is, without a verdict nothing is written
                self._preflight = error
        with as_dagster_failure():
            if isinstance(self._preflight, DrError):
                raise self._preflight
        if isinstance(self._preflight, Exception):
            raise dg.Failure(
                f"The preflight ended without a verdict ({type(self._preflight).__name__}), so nothing is written. Run "
                "`dr preflight`.",
                allow_retries=False,
            ) from self._preflight
        return self._preflight if first else None

    def run_step(self, context: Any, key: str, step: Callable[[], Outcome], writes: bool) -> Outcome:
        """The outcome of `step`, in Dagster's terms, and reported to PROGRESS.

        A resource that exists and cannot be corrected is `drifted`: the step succeeds, so that what needs it is still
        provisioned, and `uncorrected` has the reason.

        Raises dg.RetryRequested while a resource that is written is not ready (other branches of the graph go on), dg.Failure
        when it is unknown, absent and refused, or not ready in time.
        """
        retries = int(self.wait_seconds / max(self.poll_seconds, 0.01))
        retry = dg.RetryRequested(max_retries=retries, seconds_to_wait=self.poll_seconds)
        try:
            with as_dagster_failure(UnansweredError):
                outcome = step()
        except UnansweredError as error:
            if writes and context.retry_number < 5:
                raise retry from error
            raise dg.Failure(f"{key} is unknown: {error}", allow_retries=False) from error
        if outcome.status == "unknown":
            raise dg.Failure(f"{key} is unknown: {outcome.reason}", metadata={"status": "unknown"}, allow_retries=False)
        if writes and outcome.status == "waiting":
            if context.retry_number >= retries:
                raise dg.Failure(
                    f"{key} is not ready after {self.wait_seconds:.0f} s: {outcome.reason}. Look at it in the console, then "
                    "run again: nothing is made twice.",
                    allow_retries=False,
                )
            context.log.info(f"{key}: waiting: {outcome.reason}")
            raise retry
        if writes and outcome.status == "drifted":
            self._unhealed[key] = outcome.reason
        elif writes and outcome.good:
            self._settled.add(key)
        listener = PROGRESS.get()
        if listener:
            listener(outcome)
        return outcome

    def uncorrected(self, selected: frozenset[str] | None) -> dict[str, str]:
        """Resources of the run (None: the whole stack) that are not as they should be: key -> reason, with its remedy.

        What no step of this process has reconciled is observed now: with another executor each step is a process of its own, and
        a re-execution from failure leaves out the steps that succeeded. Raises dg.Failure.
        """
        state = self.stack_state()
        chosen = state.resources.keys() if selected is None else selected & state.resources.keys()
        found = dict(self._unhealed)
        if others := chosen - self._settled - found.keys():
            with as_dagster_failure():
                rest = state.verify(others)
            found |= {each.key: f"{each.status}: {each.reason}" for each in rest if not each.good}
        return found

    def _session(self) -> AwsSession:
        options = {"endpoint_url": self.endpoint_url, "use_ssl": self.use_ssl, "verify": self.verify}
        return AwsSession(
            role_arn=self.role_arn,
            profile=self.profile_name,
            access_key=self.aws_access_key_id,
            secret_key=self.aws_secret_access_key,
            token=self.aws_session_token,
            region=self.region_name,
            **options,
        )


def run_selection(context: Any, run: dg.DagsterRun | None = None) -> frozenset[str] | None:
    """Resource keys that `run` (default: the current one) selected; None when it runs the whole job."""
    chosen = (run or context.run).asset_selection
    return None if not chosen else frozenset("/".join(key.path) for key in chosen)
