"""Texts for people in every language, and the format of the values in them."""
