# SPDX-License-Identifier: Apache-2.0
"""A Pyramid application: routes, renderers, sessions, static views and file responses."""

from pathlib import Path

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPConflict, HTTPFound
from pyramid.response import FileResponse, Response
from pyramid.session import SignedCookieSessionFactory

HERE = Path(__file__).resolve().parent


def item(request):
    return {
        "match": request.matchdict,
        "query": request.GET.mixed(),
        "url": request.url,
        "application": request.application_url,
        "method": request.method,
    }


def form(request):
    upload = request.POST.get("file")
    size = len(upload.file.read()) if hasattr(upload, "file") else None
    fields = {name: value for name, value in request.POST.items() if isinstance(value, str)}
    return {"fields": fields, "size": size}


def count(request):
    request.session["count"] = request.session.get("count", 0) + 1
    return {"count": request.session["count"]}


def file(request):
    return FileResponse(HERE / "data/large.bin", request=request)


def stream(request):
    blocks = (b"block %d\n" % number for number in range(200))
    return Response(app_iter=blocks, content_type="text/plain")


def conditional(request):
    response = Response(body=b"0123456789" * 50, content_type="text/plain", conditional_response=True)
    response.etag = "fixed"
    return response


def found(request):
    raise HTTPFound(location=request.route_url("item", kind="a", rest=("b", "c")))


def conflict(request):
    raise HTTPConflict("of tests")


def missing(request):
    request.response.status = 404
    return {"missing": request.path}


with Configurator() as config:
    config.set_session_factory(SignedCookieSessionFactory("a key for tests only", timeout=None))
    config.add_route("item", "/item/{kind}/*rest")
    for view in (form, count, file, stream, conditional, found, conflict):
        config.add_route(view.__name__, f"/{view.__name__}")
        config.add_view(view, route_name=view.__name__, renderer="json")
    config.add_view(item, route_name="item", renderer="json")
    config.add_notfound_view(missing, renderer="json", append_slash=False)
    config.add_static_view("static", str(HERE / "data"), cache_max_age=60)
    application = config.make_wsgi_app()
