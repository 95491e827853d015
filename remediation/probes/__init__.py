"""Every request to a service: each probe has a deadline, and reports why there was no answer."""
