"""The configuration: read, checked, and decoded into the types that everything else works with."""
