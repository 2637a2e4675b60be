"""Topics: another one for each subject, short enough for a file's name, and compared by their parts."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from dr_assets.alerting.maintenance_windows import open_window
from dr_assets.errors import RefusedError
from dr_assets.history.store import FolderStore
from dr_assets.monitoring.evaluate import MEMORY_SECONDS, remembered
from dr_assets.monitoring.rules import rules_for
from dr_assets.monitoring.state import State, Track
from dr_assets.monitoring.subject_rules import drift_rule, event_rule
from dr_assets.monitoring.topics import divided, topic_of, within
from dr_assets.stack import SITES, Stack
from tests.support.monitoring import Run, S, at, healthy, sample

# One incident for several rules: they answer the same question.
SHARED = ("writer", "replication", "unprotected.primary", "unprotected.secondary")


def test_no_two_subjects_share_a_topic(stack: Stack) -> None:
    rules = [rule for rule in rules_for(stack) if rule.topic not in SHARED]
    found = [(rule.topic, rule.metric) for rule in rules]
    assert len({topic for topic, _ in found}) == len({*found}), found
    names = ("poison", "unread", "aws-health:A", "aws-health:B")
    events = [event_rule(f"{S}/{site}/events/{name}").topic for site in SITES for name in names]
    assert len({*events}) == len(events)
    drift = {drift_rule(f"{S}/{site}/dagster/matches:{site}/aurora/cluster").topic for site in SITES}
    assert drift == {"drift.aurora.primary", "drift.aurora.secondary"}


def test_divided_gives_each_text_a_topic_of_its_own_that_a_file_can_be_named_after() -> None:
    rng = random.Random(20261127)
    letters = "abcXYZ019_-./|: \\\n\u00e9\u4e16\ud800"
    texts = {"".join(rng.choice(letters) for _ in range(rng.randint(0, 150))) for _ in range(5000)}
    topics = [divided("runs", text) for text in sorted(texts)]
    assert len({*topics}) == len(texts)
    for topic in topics:
        assert len(topic) <= 100 and topic.isascii() and "/" not in topic and topic_of(topic) is not None


@pytest.mark.parametrize(
    ("topic", "family", "expected"),
    [
        ("runs.a", "runs", True),
        ("runs", "runs", True),
        ("runs.a", "runs.a", True),
        ("runs.ab", "runs.a", False),
        ("runs", "runs.a", False),
    ],
)
def test_a_topic_is_within_its_family(topic: str, family: str, expected: bool) -> None:
    assert within(topic, family) is expected


def test_case_b3_both_sites_lost_are_two_alerts(stack: Stack) -> None:
    run = Run(stack)
    for second in range(0, 120, 5):
        lost = [sample(second, 0.0, "member", "secondary", "topology")] if second >= 10 else []
        lost += [sample(second, 0.0, "member", "primary", "topology")] if second >= 60 else []
        run.tick(second, [*healthy(second), *lost])
    assert run.delivered == ["unprotected.secondary opened", "unprotected.primary opened"]


def test_two_keys_are_two_alerts(stack: Stack) -> None:
    run = Run(stack)
    for second in range(0, 60, 10):
        bad = [sample(second, 0.0, "notifications-key", "primary", "key")] if second >= 10 else []
        bad += [sample(second, 0.0, "data-key", "secondary", "key")] if second >= 30 else []
        run.tick(second, [*healthy(second), *bad])
    assert run.delivered == ["keys.primary.notifications-key opened", "keys.secondary.data-key opened"]


def test_a_window_for_a_family_covers_its_parts_and_no_other_topic(stack: Stack) -> None:
    for window, expected in ((f"{S}/unprotected", []), (f"{S}/unprotected.primary", ["unprotected.secondary opened"])):
        run = Run(stack)
        for second in range(0, 60, 5):
            run.tick(second, [*healthy(second), sample(second, 0.0, "member", "secondary", "topology")], [window])
        assert run.delivered == expected


def test_a_window_for_a_topic_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with pytest.raises(RefusedError, match="no topic writr"):
        open_window(store, S, at(0), at(3600), "ann", "why", "writr")
    assert open_window(store, S, at(0), at(3600), "ann", "why", "runs.verify_stack").topic == "runs.verify_stack"


def test_good_subjects_are_forgotten_after_a_while_and_bad_ones_never() -> None:
    old, now = 1000.0, 1000.0 + MEMORY_SECONDS + 1
    state = State.empty().updated(
        tracks={
            "good": Track(watched=old, known=old),
            "new": Track(watched=old, known=now),
            "bad": Track(watched=old, known=old, breach_at=old, raised=True),
            "unknown": Track(watched=old, known=old, silent=True),
        }
    )
    assert remembered(state, now) == {"new", "bad", "unknown"}
