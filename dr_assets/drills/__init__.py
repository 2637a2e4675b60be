"""Drills: what they do, measure and leave behind. May import stack, core, aws, world, endpoints, errors and history."""
