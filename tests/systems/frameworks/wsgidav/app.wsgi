# SPDX-License-Identifier: Apache-2.0
"""A WebDAV share of the folder beside this file."""

from pathlib import Path

from wsgidav.wsgidav_app import WsgiDAVApp

application = WsgiDAVApp(
    {
        "provider_mapping": {"/": str(Path(__file__).resolve().parent / "data")},
        "simple_dc": {"user_mapping": {"*": True}},
        "verbose": 0,
        "logging": {"enable": False},
    }
)
