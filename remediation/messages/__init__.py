"""Texts for people, in every language that there is, and how values are written in them."""
