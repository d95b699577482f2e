# SPDX-License-Identifier: Apache-2.0
"""The project beside this file."""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"

from django.core.wsgi import get_wsgi_application  # noqa: E402

application = get_wsgi_application()
