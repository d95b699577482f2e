# SPDX-License-Identifier: Apache-2.0
"""A small service made with Falcon: JSON in, JSON out."""

from inventory.service import create_application

application = create_application()
