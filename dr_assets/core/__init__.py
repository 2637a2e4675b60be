"""The reconcile loop without I/O: desired and observed state, their difference, and the one call that reduces it."""
