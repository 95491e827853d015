"""The supervision of health runs: a process that runs no check handles their hangs, their crashes and their ends."""
