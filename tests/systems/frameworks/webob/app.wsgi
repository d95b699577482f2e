# SPDX-License-Identifier: Apache-2.0
"""WebOb's view of a request, and its responses, under the checks of WebTest."""

import hashlib
import json

from webob import Request, Response
from webtest import lint


def echo(request):
    return Response(
        json_body={
            "method": request.method,
            "host": request.host,
            "url": request.url,
            "path_url": request.path_url,
            "query": request.GET.mixed(),
            "post": {
                name: value if isinstance(value, str) else [value.filename, len(value.value)]
                for name, value in request.POST.items()
            },
            "cookies": dict(request.cookies),
            "accept": str(request.accept),
            "languages": [str(language) for language in request.accept_language],
            "range": repr(request.range),
            "if_modified_since": repr(request.if_modified_since),
            "if_none_match": repr(request.if_none_match),
            "content_type": request.content_type,
            "charset": request.charset,
            "is_xhr": request.is_xhr,
            "authorization": repr(request.authorization),
        }
    )


def body(request):
    data = request.body
    text = json.dumps([len(data), request.content_length, hashlib.sha256(data).hexdigest()])
    return Response(text=text, content_type="application/json", charset="utf-8")


def conditional(request):
    response = Response(
        body=bytes(range(256)) * 4,
        content_type="application/octet-stream",
        conditional_response=True,
        accept_ranges="bytes",
        last_modified="Mon, 01 Jan 2024 00:00:00 GMT",
        cache_control="max-age=60, private",
    )
    response.md5_etag()
    return response


def headers(request):
    response = Response(status="299 Own Words", body=b"", content_type="text/plain")
    response.headerlist += [
        ("X-One", "1"),
        ("X-Latin", "gr\u00fcn"),
        ("X-Empty", ""),
        ("X-Long", "x" * 6000),
        ("Warning", '299 - "a"'),
    ]
    response.set_cookie("a", "1", max_age=10)
    response.delete_cookie("b")
    return response


VIEWS = {view.__name__: view for view in (echo, body, conditional, headers)}


def unchecked(environ, start_response):
    request = Request(environ)
    view = VIEWS.get(request.path_info_pop())
    response = view(request) if view else Response(status=404, text="nothing here")
    return response(environ, start_response)


application = lint.middleware(unchecked)
