"""Interface of an extended moto service: backend class, response class, and hooks for passing time and reset."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Extension:
    """One service's extension. Its module exports it as `EXTENSION`; `services.TABLE` names the module.

    Attributes:
        backends: moto's `BackendDict` of the service.
        backend: our backend class: `Extended` in front of moto's.
        urls: moto's module with the service's URL patterns.
        responses: our class that answers the API; `None` leaves moto's.
        pass_time: `(now, everything)`: do what is due at `now` (seconds since the epoch), or everything. Called before requests
            that can show that time has passed; must return at once while nothing is due.
        settle: finish transitions that are over. Called while the server runs by itself, without a request.
        pace_changed: `clock.pace` is another now.
        reset: forget what is kept outside moto's backends.
    """

    backends: Any
    backend: "type[Extended]"
    urls: Any
    responses: Any = None
    pass_time: Callable[[float, bool], None] | None = None
    settle: Callable[[], None] | None = None
    pace_changed: Callable[[], None] | None = None
    reset: Callable[[], None] | None = None

    def install(self) -> None:
        """Replace the backend class before its first use, so that callers inside moto get the extended one too."""
        self.backend.extension = self
        self.backends.backend = self.backend
        self.backends.clear()  # another service may have made moto's by reading it: empty, and not extended


class Extended:
    """Mixin in front of a moto backend class: moto's URL patterns, answered by the extension's API class.

    moto derives a backend's URL module from the name of the module that defines the class, and that module routes to
    moto's own response class; both are replaced here, and upstream modules stay untouched.
    """

    extension: ClassVar[Extension]

    @property
    def _url_module(self) -> Any:
        return self.extension.urls

    @property
    def url_paths(self) -> dict[str, Any]:
        """moto's patterns -> handlers."""
        handlers, responses = self.extension.urls.url_paths.items(), self.extension.responses
        if responses is None:
            return {pattern.format(""): handler for pattern, handler in handlers}
        return {pattern.format(""): getattr(responses, handler.__name__) for pattern, handler in handlers}
