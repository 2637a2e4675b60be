"""A matrix of faults: what happens at each phase of each subject when something breaks there. Shown in docs/reliability.md."""
