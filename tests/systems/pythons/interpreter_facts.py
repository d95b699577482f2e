# SPDX-License-Identifier: Apache-2.0
"""Functions for the script beside it that other processes must be able to import."""

import os
import sys


def collect():
    return {
        "version": sys.version,
        "prefix": sys.prefix,
        "base prefix": sys.base_prefix,
        "executable": sys.executable,
        "pid": os.getpid(),
        "parent": os.getppid(),
    }


def square(number):
    return number * number
