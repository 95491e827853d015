"""Drills: inject real faults into the services of the project, and see whether they are healed."""
