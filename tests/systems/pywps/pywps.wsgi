# SPDX-License-Identifier: Apache-2.0
"""The WSGI script of the PyWPS instance."""

from pathlib import Path

from processes.add import Add
from processes.reverse import Reverse
from pywps.app.Service import Service

application = Service([Add(), Reverse()], [str(Path(__file__).parent / "pywps.cfg")])
