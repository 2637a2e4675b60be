"""Symbols of the desired state: references, roles, texts with the account number."""

from typing import Any

import pytest

from dr_assets.core.expressions import (
    ByRole,
    Ref,
    Text,
    UnknownScope,
    Unresolved,
    canonical,
    digest,
    is_resolved,
    plain,
    references,
    resolve,
)


class Scope:
    account = "123456789012"

    def __init__(self, writer: str = "primary", fields: dict[tuple[str, str], Any] | None = None) -> None:
        self.writer = writer
        self.fields = fields or {}

    def role(self, site: str) -> Any:
        if self.writer == "?":
            raise UnknownScope("global/aurora/global-cluster", "no answer")
        return "writer" if site == self.writer else "reader"

    def field(self, key: str, field: str) -> Any:
        return self.fields.get((key, field), Unresolved(key, field))


def test_resolve_walks_everything() -> None:
    scope = Scope("secondary", {("a/b/c", "Id"): "vpc-1"})
    value = {"x": [Ref("a/b/c", "Id"), ByRole("primary", 1, 2)], "y": Text("arn:{account}:{0}", (Ref("a/b/c", "Id"),))}
    assert resolve(value, scope) == {"x": ["vpc-1", 2], "y": "arn:123456789012:vpc-1"}


def test_roles_swap_and_sites_do_not() -> None:
    value = ByRole("secondary", writer="notBreaching", reader="breaching")
    assert resolve(value, Scope("primary")) == "breaching"
    assert resolve(value, Scope("secondary")) == "notBreaching"


def test_unknown_role_is_not_guessed() -> None:
    with pytest.raises(UnknownScope, match="global-cluster"):
        resolve(ByRole("primary", 1, 2), Scope("?"))


def test_reference_to_something_absent_equals_nothing() -> None:
    value = resolve({"a": Ref("x/y/z", "Arn"), "b": Text("{0}!", (Ref("x/y/z", "Arn"),))}, Scope())
    assert not is_resolved(value)
    assert not is_resolved(value["b"])
    assert "x/y/z" in str(plain(value["a"]))


def test_references_are_found_inside_roles_and_texts() -> None:
    value = [ByRole("primary", Ref("a", "1"), None), Text("{0}", (Ref("b", "1"),)), {"k": Ref("a", "2")}]
    assert references(value) == ("a", "b")


def test_canonical_ignores_the_order_of_keys_and_lists() -> None:
    assert canonical({"b": [2, 1], "a": {"y": [{"q": 1}, {"p": 2}]}}) == canonical(
        {"a": {"y": [{"p": 2}, {"q": 1}]}, "b": [1, 2]}
    )
    assert digest([1, 2]) != digest([1, 3])
    assert canonical(1) != canonical("1")
    assert canonical(True) != canonical(1)
