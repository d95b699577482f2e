# SPDX-License-Identifier: Apache-2.0
"""Real applications behind the module, each set up as its own deployment guide says.

Only paths, ports and account names differ from the guides. What a single directive or
option does is tested one folder up.
"""
