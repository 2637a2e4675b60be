"""Permissions as they are stored: the policies of users, roles and resources, and what AWS services may do by themselves."""

from dr_assets.emulator.permissions.service_calls import Denied, may_assume, may_publish, may_use

__all__ = ["Denied", "may_assume", "may_publish", "may_use"]
