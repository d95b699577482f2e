"""Another application of this folder, as the path says, wrapped in wsgiref.validate."""

import os
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from wsgiref.util import shift_path_info
from wsgiref.validate import validator

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOADED = {}


def load(name):
    loader = SourceFileLoader("validated_" + name, os.path.join(FOLDER, name, "app.wsgi"))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return validator(module.application)


def application(environ, start_response):
    name = shift_path_info(environ)
    if name not in LOADED:
        LOADED[name] = load(name)
    return LOADED[name](environ, start_response)
