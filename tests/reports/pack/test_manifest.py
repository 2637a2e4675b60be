"""The manifest as a document: packs of earlier versions verify, those of later ones are refused with the remedy."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from dr_assets.reports.pack.manifest import verify_pack


def pack(directory: Path, **changes: Any) -> Path:
    """A pack of one file; the manifest in the key order of earlier versions."""
    (directory / "index.html").write_text("page")
    files = {"index.html": {"sha256": hashlib.sha256(b"page").hexdigest(), "bytes": 4}}
    manifest = {
        "schema": "dr-assets/pack/1",
        "stack": "l6p3z2w4",
        "from": "2026-10-01T00:00:00.000Z",
        "to": "2026-11-01T00:00:00.000Z",
        "made_at": "2026-11-01T00:00:00.000Z",
        "product_version": "",
        "records": 0,
        "chain_head": None,
        "files": files,
    }
    (directory / "manifest.json").write_text(json.dumps({**manifest, **changes}, indent=1) + "\n")
    return directory


def test_a_pack_of_an_earlier_version_verifies(tmp_path: Path) -> None:
    assert verify_pack(pack(tmp_path)) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"schema": "dr-assets/pack/2"}, "newer than dr-assets/pack/1. Update DR Assets."),
        ({"schema": "dr-assets/record/1"}, "has the schema 'dr-assets/record/1'"),
        ({"files": ["index.html"]}, "manifest.json is not a dr-assets/pack/1: files"),
        ({"files": {"index.html": "0"}}, "manifest.json is not a dr-assets/pack/1: files.index.html"),
        ({"records": 1}, "0 records are listed, 1 counted"),
    ],
)
def test_a_manifest_that_does_not_fit_is_named(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    (found,) = verify_pack(pack(tmp_path, **changes))
    assert problem in found
