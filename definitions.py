"""Dagster's entry point: wiring only. The stack file is read when Dagster loads the definitions, AWS never is."""

import dagster as dg

from dr_assets.defs.definitions import build_definitions
from dr_assets.stack import load_stack


@dg.definitions
def defs() -> dg.Definitions:
    return build_definitions(load_stack())
