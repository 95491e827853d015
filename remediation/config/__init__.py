"""The configuration: reading, checking, and decoding it into the types that all other code uses."""
