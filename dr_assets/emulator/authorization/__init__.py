"""Authorization of API calls: from a request to the permissions it needs, and to AWS's refusal where one is missing."""

from dr_assets.emulator.authorization.authorize import Decision, authorize

__all__ = ["Decision", "authorize"]
