"""Answers whether it runs in the main interpreter, whose number is 0, or in a sub-interpreter."""

import ctypes

api = ctypes.pythonapi
api.PyInterpreterState_Get.restype = ctypes.c_void_p
api.PyInterpreterState_GetID.argtypes = [ctypes.c_void_p]
api.PyInterpreterState_GetID.restype = ctypes.c_int64


def application(environ, start_response):
    number = api.PyInterpreterState_GetID(api.PyInterpreterState_Get())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"sub" if number else b"main"]
