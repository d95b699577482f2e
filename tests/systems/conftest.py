# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the real systems: each has one server a mode, shared by the tests of its file."""

import pytest

from harness.plugin import MODES


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """As the harness's, but for servers that live as long as a file's tests."""
    return request.param
