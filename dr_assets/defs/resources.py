"""The Dagster resource for AWS: how a run treats the stack, and the one observed state that all its steps share."""

from collections.abc import Callable
from contextvars import ContextVar
from os import environ
from typing import Any, Literal

import boto3
import dagster as dg
from dagster_aws.utils import ResourceWithBoto3Configuration
from pydantic import Field, PrivateAttr

from dr_assets.aws import PROVISIONING_SILENCE, READ_ATTEMPTS, Aws
from dr_assets.core.model import Outcome
from dr_assets.errors import DrError
from dr_assets.reconcile.stack_state import StackState
from dr_assets.stack import load_stack

Mode = Literal["verify", "provision"]
MODE_VARIABLE = "DR_MODE"
ROLE_VARIABLE = "DR_ROLE_ARN"

# Set by a caller that runs a job in its own process (the `dr` command) to receive outcomes as they come.
PROGRESS: ContextVar[Callable[[Outcome], None] | None] = ContextVar("dr_progress", default=None)


class AwsStack(ResourceWithBoto3Configuration):
    """Boto3 configuration, the role to assume, and how a run treats the stack.

    `mode` defaults to the variable DR_MODE, then to verify: without an explicit setting nothing is written to AWS.
    With the in-process executor one instance serves the whole run, so its steps share one snapshot.
    """

    mode: str = Field(default="", description="'verify' or 'provision'; empty: DR_MODE, else verify")
    adopt: bool = Field(default=False, description="Change resources that Terraform manages, too")
    allow_away: bool = Field(default=False, description="Write although the writer is not at its home site")
    poll_seconds: float = Field(
        default=15.0, description="Seconds between observations of a resource that is not ready"
    )
    wait_seconds: float = Field(default=3600.0, description="Seconds a resource may take to become ready")
    role_arn: str | None = Field(default=None, description="IAM role to assume; default: DR_ROLE_ARN, else none")

    _stack_state: StackState | None = PrivateAttr(default=None)
    _snapshot_taken: bool = PrivateAttr(default=False)

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
            try:
                silence = PROVISIONING_SILENCE if self.writes else None
                aws = Aws(self._session(), attempts=max(self.max_attempts, READ_ATTEMPTS), silence=silence)
                self._stack_state = StackState(load_stack(), aws, adopt=self.adopt, allow_away=self.allow_away)
            except DrError as error:
                raise dg.Failure(str(error), allow_retries=False) from error
        return self._stack_state

    def snapshot(self, selected: frozenset[str] | None) -> StackState:
        """The run's StackState; the first call reads everything the run selected (None: the whole stack) concurrently."""
        state = self.stack_state()
        if not self._snapshot_taken:
            self._snapshot_taken = True
            try:
                state.snapshot(None if selected is None else selected & state.resources.keys())
            except DrError as error:
                raise dg.Failure(str(error), allow_retries=False) from error
        return state

    def _session(self) -> boto3.Session:
        session = boto3.Session(
            aws_access_key_id=self.aws_access_key_id,
            aws_secret_access_key=self.aws_secret_access_key,
            aws_session_token=self.aws_session_token,
            region_name=self.region_name,
            profile_name=self.profile_name,
        )
        role = self.role_arn or environ.get(ROLE_VARIABLE)
        return assume(session, role) if role else session


def assume(session: boto3.Session, role_arn: str) -> boto3.Session:
    """A session that acts as `role_arn` and refreshes its temporary credentials."""
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.session import get_session

    source: Any = session._session
    fetcher = AssumeRoleCredentialFetcher(
        source.create_client, source.get_credentials(), role_arn, extra_args={"RoleSessionName": "dr-assets"}
    )
    assumed: Any = get_session()
    # botocore offers no public way to hand a session credentials that refresh themselves.
    assumed._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
    return boto3.Session(botocore_session=assumed, region_name=session.region_name)


def run_selection(context: Any) -> frozenset[str] | None:
    """Resource keys that this run selected; None when it runs the whole job."""
    chosen = context.run.asset_selection
    return None if not chosen else frozenset("/".join(key.path) for key in chosen)
