"""The preflight report as a document with a stable schema: checks, answers, calls; account numbers can be masked."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pydantic import JsonValue

from dr_assets.documents import Document, Part, UtcTime
from dr_assets.preflight.survey import Status

_ACCOUNT = re.compile(r"(?<![0-9A-Za-z])[0-9]{12}(?![0-9A-Za-z])")
_SESSION = re.compile(r"(:assumed-role/|:user/|:federated-user/)[^\"\s,;)]+")
MASK = "XXXXXXXXXXXX"


class CheckLine(Part):
    """One check. `blocks`: nothing is written because of it. `skip_reason`: why someone left it out."""

    name: str
    title: str
    status: Status
    detail: str
    remedy: str = ""
    essential: bool
    blocks: bool
    skip_reason: str | None = None
    facts: dict[str, JsonValue] = {}


class AnswerLine(Part):
    """What AWS showed about a question that its documents leave open. `value` is null unless `status` is ok."""

    name: str
    question: str
    status: Status
    detail: str
    switch: str | None = None
    value: JsonValue = None
    facts: dict[str, JsonValue] = {}


class PreflightReport(Document):
    """Result of `dr preflight`. `seconds` is wall time, `api_calls` counts AWS calls, retries not included."""

    SCHEMA: ClassVar[str] = "dr-assets/preflight/1"

    at: UtcTime
    product_version: str
    stack: str
    account: str | None
    principal: str | None
    primary_region: str
    secondary_region: str
    engine_version: str
    instance_class: str
    passes: bool
    checks: tuple[CheckLine, ...]
    answers: tuple[AnswerLine, ...] = ()
    api_calls: int
    seconds: float

    @property
    def blocking(self) -> list[CheckLine]:
        return [line for line in self.checks if line.blocks]

    def masked(self) -> PreflightReport:
        """Without account numbers and without the names of sessions and users."""

        def mask(value: Any) -> Any:
            if isinstance(value, str):
                return _SESSION.sub(r"\1…", _ACCOUNT.sub(MASK, value))
            if isinstance(value, dict):
                return {mask(key): mask(item) for key, item in value.items()}
            return [mask(item) for item in value] if isinstance(value, list) else value

        return PreflightReport.from_json(mask(self.to_json()), "the report")
