# SPDX-License-Identifier: Apache-2.0
"""A Django project for tests."""
