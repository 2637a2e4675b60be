"""What every extended backend shares: moto's URL patterns, answered by our response class.

Imports nothing but the standard library; the patterns come from the moto module that the subclass names.
"""

from typing import Any


class Extended:
    """Mixin in front of a moto backend class.

    moto derives a backend's URL module from the name of the module that defines the class, and that module routes to
    moto's own response class. A subclass says which moto module holds the patterns and which response class answers.
    """

    moto_urls: Any

    @property
    def _url_module(self) -> Any:
        return self.moto_urls

    @property
    def url_paths(self) -> dict[str, Any]:
        """moto's patterns and handler names, answered by the extended response class."""
        response = self.response_class()
        handlers = self.moto_urls.url_paths.items()
        if response is None:
            return {pattern.format(""): handler for pattern, handler in handlers}
        return {pattern.format(""): getattr(response, handler.__name__) for pattern, handler in handlers}

    def response_class(self) -> Any:
        """The response class that answers; `None` leaves moto's."""
        return None
