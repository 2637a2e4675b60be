"""Reconcile engine: compare desired with observed state and choose the next AWS call. Pure; I/O only through a driver."""
