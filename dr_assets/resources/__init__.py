"""The stack's resources: one package for each area, with its kinds (AWS verbs) beside its rows (what the stack wants)."""
