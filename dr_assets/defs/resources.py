"""The Dagster resource through which every asset, check and op meets AWS: one `World` for the life of a run.

With the in-process executor a run has one instance, so the snapshot is taken once and shared by all its steps.
"""

from collections.abc import Callable
from contextvars import ContextVar
from os import environ
from typing import Any, Literal

import boto3
import dagster as dg
from dagster_aws.utils import ResourceWithBoto3Configuration
from pydantic import Field, PrivateAttr

from dr_assets.aws import Aws
from dr_assets.core.model import Outcome
from dr_assets.errors import DrError
from dr_assets.reconcile.stack_state import World
from dr_assets.stack import load_stack

Mode = Literal["verify", "provision"]
MODE_VARIABLE = "DR_MODE"
ROLE_VARIABLE = "DR_ROLE_ARN"

# Whoever runs a job in this very process (the `dr` command) may watch outcomes as they come.
PROGRESS: ContextVar[Callable[[Outcome], None] | None] = ContextVar("dr_progress", default=None)


class AwsStack(ResourceWithBoto3Configuration):
    """Boto3's own configuration, the role to assume, and how a run treats the stack.

    `mode` falls back to the variable DR_MODE, then to verify: nothing writes to AWS unless somebody said so.
    """

    mode: str = Field(default="", description="'verify' or 'provision'; empty: DR_MODE, else verify")
    adopt: bool = Field(default=False, description="Change resources that Terraform manages, too")
    allow_away: bool = Field(default=False, description="Write although the writer is not at its home site")
    poll_seconds: float = Field(
        default=15.0, description="Wait between looks at a resource that is not ready, in seconds"
    )
    wait_seconds: float = Field(default=3600.0, description="How long a resource may take to become ready, in seconds")
    role_arn: str | None = Field(default=None, description="IAM role to assume; default: DR_ROLE_ARN, else none")

    _world: World | None = PrivateAttr(default=None)
    _covered: bool = PrivateAttr(default=False)

    @property
    def effective_mode(self) -> Mode:
        """Raises dg.Failure where the mode is misspelt."""
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

    def world(self) -> World:
        """The run's World; the stack file is read when it is first asked for. Raises DrError as dg.Failure."""
        if self._world is None:
            try:
                aws = Aws(self._session(), attempts=max(self.max_attempts, 8))
                self._world = World(load_stack(), aws, adopt=self.adopt, allow_away=self.allow_away)
            except DrError as error:
                raise dg.Failure(str(error), allow_retries=False) from error
        return self._world

    def cover(self, selected: frozenset[str] | None) -> World:
        """The World, with one concurrent snapshot of everything this run selected (None: the whole stack) taken first."""
        world = self.world()
        if not self._covered:
            self._covered = True
            try:
                world.snapshot(None if selected is None else selected & world.resources.keys())
            except DrError as error:
                raise dg.Failure(str(error), allow_retries=False) from error
        return world

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
    """A session that acts as `role_arn` and refreshes its temporary credentials by itself."""
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
    """The keys this run selected, or None where it is the whole job."""
    chosen = context.run.asset_selection
    return None if not chosen else frozenset("/".join(key.path) for key in chosen)
