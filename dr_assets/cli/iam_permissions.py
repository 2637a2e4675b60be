"""Print or write the IAM policies of `dr permissions`, with how to attach them.

Policies go to stdout, advice to stderr.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dr_assets import files
from dr_assets.cli.output import say, say_json
from dr_assets.core.expressions import Text
from dr_assets.drills.signing import kms_arns
from dr_assets.errors import DrError
from dr_assets.history.store import URI_VARIABLE
from dr_assets.resources import iam_policy
from dr_assets.resources.identity import rows
from dr_assets.stack import Stack


def run(stack: Stack, duties: Sequence[str], account: str, out: Path | None, boundary: bool) -> None:
    """Raises DrError for an unknown duty, a wrong account number or a folder that cannot be written."""
    if unknown := [duty for duty in duties if duty not in iam_policy.DUTIES]:
        raise DrError(f"There is no duty {unknown[0]!r}. Choose from {', '.join(iam_policy.DUTIES)}.")
    if account != "*" and not re.fullmatch(r"\d{12}", account, re.ASCII):
        raise DrError(f"--account {account!r} is not an AWS account number. Give its 12 digits.")
    if boundary:
        say_json(_with_account(rows.boundary(stack), account))
        return
    store = urlsplit(os.environ.get(URI_VARIABLE, ""))
    history = f"{store.netloc}/{store.path.strip('/')}".rstrip("/") if store.scheme == "s3" else ""
    document = iam_policy.policy(stack, dict.fromkeys(duties), account, history, kms_arns())
    if out:
        _write(stack, "-".join(dict.fromkeys(duties)), document, out)
        return
    say_json(document)
    size = iam_policy.size(document)
    if size <= iam_policy.INLINE_LIMIT:
        say(
            f"# {size} characters: attach it with `aws iam put-role-policy`; all inline policies of a role may have "
            f"{iam_policy.INLINE_LIMIT} together.",
            err=True,
        )
    else:
        say(f"# {size} characters exceed an inline policy: use --out DIR for managed policies.", err=True)


def _write(stack: Stack, name: str, document: dict[str, Any], out: Path) -> None:
    """Write the document as managed policies; print the commands that attach them."""
    for number, part in enumerate(iam_policy.split(document), start=1):
        file = out / f"dr-{name}-{number}-{stack.environment_suffix}.json"
        try:
            files.write(file, (json.dumps(part, indent=2) + "\n").encode())
        except OSError as error:
            raise DrError(f"{file} cannot be written ({error.strerror}). Choose another folder for --out.") from error
        say(f"aws iam create-policy --policy-name {file.stem} --policy-document {shlex.quote(f'file://{file}')}")
    say("# Then `aws iam attach-role-policy` for each; a role takes ten managed policies.", err=True)


def _with_account(value: Any, account: str) -> Any:
    if isinstance(value, Text):
        return value.template.format(account=account)
    if isinstance(value, dict):
        return {key: _with_account(item, account) for key, item in value.items()}
    return [_with_account(item, account) for item in value] if isinstance(value, list) else value
