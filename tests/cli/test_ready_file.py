"""`dr up --ready-file`: appears once the embedded AWS answers, replaces only a former one, and goes with its own process."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import dr_assets.emulator
from dr_assets.cli.main import main
from dr_assets.errors import DrError


class Stub:
    """Stands for the embedded AWS: it answers once, and ends as soon as anybody asks whether it is alive."""

    endpoint_url, nameserver, stderr = "http://127.0.0.1:1", "127.0.0.1:2", ""

    def __init__(self, ready: Path) -> None:
        self.ready, self.found, self.then = ready, b"", lambda: None

    def __call__(self, **_: Any) -> "Stub":
        return self

    def __enter__(self) -> "Stub":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def env(self) -> dict[str, str]:
        return {"AWS_ENDPOINT_URL": self.endpoint_url}

    @property
    def alive(self) -> bool:
        self.found = self.ready.read_bytes()
        self.then()
        return False


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    made = Stub(tmp_path / "ready.json")
    monkeypatch.setattr(dr_assets.emulator, "EmbeddedAws", made)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def up(path: Path | str) -> Result:
    return CliRunner().invoke(main, ["up", "--ready-file", str(path)])


def test_it_names_the_endpoint_and_goes_with_the_process(stub: Stub) -> None:
    done = up(stub.ready)
    assert json.loads(stub.found)["aws_endpoint_url"] == stub.endpoint_url
    assert "exited unexpectedly" in done.stderr
    assert not stub.ready.exists()


def test_one_that_a_killed_process_left_is_replaced(stub: Stub) -> None:
    stub.ready.write_text('{"aws_endpoint_url": "http://127.0.0.1:9", "environment": {}}')
    up(stub.ready)
    assert json.loads(stub.found)["aws_endpoint_url"] == stub.endpoint_url
    assert not stub.ready.exists()


@pytest.mark.parametrize(
    "content", ["", "precious", "{}", "[]", '["aws_endpoint_url"]', '"aws_endpoint_url"', "null", "\0"]
)
def test_case_e2_another_file_is_refused_and_kept(stub: Stub, content: str) -> None:
    stub.ready.write_text(content)
    done = up(stub.ready)
    assert done.exit_code == 1 and done.stderr.count("\n") == 1
    assert "exists and is no ready file. Choose another name" in done.stderr
    assert stub.ready.read_text() == content


def test_case_e2_a_link_is_refused_and_kept(stub: Stub, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text('{"aws_endpoint_url": 1}')
    for destination in (victim, tmp_path / "nowhere"):
        stub.ready.symlink_to(destination)
        done = up(stub.ready)
        assert done.exit_code == 1 and "a symbolic link, which is not followed" in done.stderr
        assert os.readlink(stub.ready) == str(destination)
        stub.ready.unlink()
    assert victim.read_text() == '{"aws_endpoint_url": 1}'


@pytest.mark.parametrize("name", ["x" * 300, "folder", "folder/../file/x"])
def test_case_e2_an_impossible_name_is_one_clear_error(stub: Stub, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    done = up(tmp_path / name)
    assert done.exit_code == 1 and done.stderr.startswith("dr: ") and done.stderr.count("\n") == 1


def test_a_file_is_kept_when_the_embedded_aws_does_not_start(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise DrError("No PostgreSQL. Install it.")

    monkeypatch.setattr(dr_assets.emulator, "EmbeddedAws", fail)
    stub.ready.write_text('{"aws_endpoint_url": "http://127.0.0.1:9"}')
    assert up(stub.ready).exit_code == 1
    assert stub.ready.exists()


def test_one_that_another_process_wrote_meanwhile_is_kept(stub: Stub) -> None:
    other = '{"aws_endpoint_url": "http://127.0.0.1:9"}'

    def replace() -> None:
        stub.ready.unlink()
        stub.ready.write_text(other)

    stub.then = replace
    up(stub.ready)
    assert stub.ready.read_text() == other
