"""A wall clock that is set between two ticks: what a sensor remembers by our own clock moves with it. Pure.

Without it a clock set back by minutes would make every reading that we stamp older than the last one, and hold incidents,
heartbeats and silence where they are, for as long as the step; one set ahead would make every source silent at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dr_assets.monitoring.state import State, Track, WallClock

# The wall clock is read beside the monotonic one; a smaller difference is no step that matters to ticks 5 s apart.
STEP_SECONDS = 2.0
# Sources whose samples bear AWS's or Dagster's time; all others are stamped with ours.
FOREIGN_CLOCKS = ("metric", "health-check", "events", "dagster")


def follow_clock(state: State, clock: WallClock, now: float) -> tuple[State, float]:
    """The state with its times as the wall clock reads now, and by how many seconds that was set since (negative: back).

    Args:
        clock: of this process.
        now: the wall clock, epoch seconds.

    After a restart of the host, or on another one, a step is not known: times ahead of the clock are taken to be now.
    """
    before = state.clock
    if before is None:
        return state.updated(clock=clock), 0.0
    if before.id != clock.id:
        return _moved(state, lambda at: min(at, now), foreign=True).updated(clock=clock), 0.0
    step = clock.offset - before.offset
    if abs(step) <= STEP_SECONDS:
        return state, 0.0
    return _moved(state, lambda at: at + step).updated(clock=clock), step


def _moved(state: State, move: Callable[[float], float], foreign: bool = False) -> State:
    """`foreign`: leave the readings' own times alone whatever their source; evaluation heals those that are ahead."""

    def own(at: float | None) -> float | None:
        return None if at is None else move(at)

    def moved(key: str, track: Track) -> Track:
        track = replace(
            track,
            watched=move(track.watched),
            other_role=own(track.other_role),
            known=own(track.known),
            since=own(track.since),
            flaps=tuple(move(at) for at in track.flaps),
        )
        if foreign or key.split("/")[2] in FOREIGN_CLOCKS:
            return track
        return replace(track, at=own(track.at), breach_at=own(track.breach_at), good_at=own(track.good_at))

    memory = state.memory.model_copy(update={"handled": {key: move(at) for key, at in state.memory.handled.items()}})
    return state.updated(
        # 0.0: there was none yet.
        heartbeat=move(state.heartbeat) if state.heartbeat else 0.0,
        tracks={key: moved(key, track) for key, track in state.tracks.items()},
        roles={stack: (site, move(at)) for stack, (site, at) in state.roles.items()},
        incidents={
            key: incident.updated(
                opened=move(incident.opened), since=move(incident.since), clear_since=own(incident.clear_since)
            )
            for key, incident in state.incidents.items()
        },
        ended={key: tuple(move(at) for at in times) for key, times in state.ended.items()},
        covered={key: move(at) for key, at in state.covered.items()},
        memory=memory,
    )
