"""Liveness: the process behind the PID file is alive, is the one that auto-heal started, and owns the port."""

import pytest

pytestmark = pytest.mark.heals("api")


def test_process(services):
    """process"""
    services["api"].require_process()
