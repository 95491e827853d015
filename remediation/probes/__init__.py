"""Everything that asks a service something: each probe has a deadline, and says why there was no answer."""
