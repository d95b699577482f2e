# SPDX-License-Identifier: Apache-2.0
"""The test harness: a real httpd with the module under test, watched from outside.

One file a subject; README.md in the folder above says how tests use them.
What a test asserts about WSGI does not belong here.
"""
