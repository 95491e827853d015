"""Drills: real faults on the services of the project, and what becomes of them."""
