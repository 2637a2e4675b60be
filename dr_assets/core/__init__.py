"""The pure heart: what is wanted, what was seen, how they differ, and the one step that brings them together.

May import only `dr_assets.stack` and `dr_assets.errors`. Does no I/O and knows neither Dagster nor boto3.
"""
