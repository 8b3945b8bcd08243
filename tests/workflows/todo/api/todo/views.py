"""The API: JSON in, JSON out."""

import json

from django.conf import settings
from django.db import connection
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET, require_http_methods

from todo.models import Todo


class Refused(Exception):
    """What a request lacks."""


def body(request):
    """The object that a request brings. Only JSON: forms of other sites cannot send that."""
    if request.content_type != "application/json":
        raise Refused("the content type has to be application/json")
    try:
        document = json.loads(request.body)
    except ValueError as error:
        raise Refused(f"this is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise Refused("this is no JSON object")
    return document


def refusing(view):
    """A view that answers 400 where it refuses."""

    def answer(request, **words):
        try:
            return view(request, **words)
        except Refused as reason:
            return JsonResponse({"error": str(reason)}, status=400)

    return answer


@require_GET
def about(_request):
    """What this is."""
    return JsonResponse({"title": settings.LIST_TITLE})


@require_http_methods(["GET", "POST"])
@refusing
def todos(request):
    """All of them, or a new one."""
    if request.method == "GET":
        return JsonResponse({"todos": [one.document() for one in Todo.objects.all()]})
    title = str(body(request).get("title", "")).strip()
    if not 0 < len(title) <= 200:
        raise Refused("a title has 1 to 200 characters")
    return JsonResponse(Todo.objects.create(title=title).document(), status=201)


@require_http_methods(["PATCH", "DELETE"])
@refusing
def todo(request, number):
    """One is done, or not after all, or goes."""
    one = get_object_or_404(Todo, pk=number)
    if request.method == "DELETE":
        one.delete()
        return HttpResponse(status=204)
    done = body(request).get("done")
    if not isinstance(done, bool):
        raise Refused("done has to be true or false")
    one.done = done
    one.save(update_fields=["done"])
    return JsonResponse(one.document())


@require_GET
def health(_request):
    """Whether the database answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("ok\n", content_type="text/plain")


@require_GET
def metrics(_request):
    """For Prometheus."""
    done = Todo.objects.filter(done=True).count()
    lines = [
        "# HELP todo_items Things on the list.",
        "# TYPE todo_items gauge",
        f'todo_items{{done="true"}} {done}',
        f'todo_items{{done="false"}} {Todo.objects.count() - done}',
    ]
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain; version=0.0.4")
