# SPDX-License-Identifier: Apache-2.0
"""The processes that the PyWPS instance offers."""
