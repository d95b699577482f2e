# SPDX-License-Identifier: Apache-2.0
"""URLs and views: the admin, a form, an upload, streams and files."""

import hashlib

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.template import engines
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

PAGE = engines["django"].from_string(
    "<form method=post>{% csrf_token %}{{ form }}</form><p>{{ said }}</p>"
)


class NameForm(forms.Form):
    name = forms.CharField(max_length=20)
    number = forms.IntegerField(required=False)


def form(request):
    filled = NameForm(request.POST or None)
    said = filled.cleaned_data if filled.is_valid() else None
    return HttpResponse(PAGE.render({"form": filled, "said": said}, request))


@method_decorator(csrf_exempt, name="dispatch")
class Upload(View):
    def post(self, request):
        files = {
            name: {
                "name": file.name,
                "type": file.content_type,
                "size": file.size,
                "digest": hashlib.sha256(file.read()).hexdigest(),
                "class": type(file).__name__,
            }
            for name, file in request.FILES.items()
        }
        return JsonResponse({"files": files, "fields": request.POST.dict()})


def stream(request):
    blocks = (f"block {number} é\n" for number in range(200))
    return StreamingHttpResponse(blocks, content_type="text/plain; charset=utf-8")


def download(request):
    file = open(settings.BASE_DIR / "data/large.bin", "rb")  # noqa: SIM115 - the response closes it
    return FileResponse(file, as_attachment=True, filename="größe.bin")


def echo(request, rest):
    response = JsonResponse(
        {
            "path": request.path,
            "rest": rest,
            "query": dict(request.GET.lists()),
            "uri": request.build_absolute_uri(),
            "method": request.method,
            "headers": {
                name: value for name, value in request.headers.items() if name.startswith("X-")
            },
        }
    )
    response["X-Answer"] = "yes"
    response.set_cookie("first", "1", max_age=3600)
    response.set_cookie("second", "zwei", httponly=True, samesite="Lax")
    return response


def fail(request):
    raise RuntimeError("as told")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("form/", form),
    path("upload", Upload.as_view()),
    path("stream", stream),
    path("download", download),
    path("echo/<path:rest>", echo),
    path("fail", fail),
    path("static/<path:path>", serve, {"insecure": True}),
]
