"""Drills: real faults on the user's own services, and what becomes of them."""
