"""The stack's resources: one package per area, with its kinds (AWS verbs) and its rows (what this stack wants)."""
