"""One resource of an API. A change to it needs that nobody else has it locked."""

import json

from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from articles.models import Article
from holdfast.integrations.django import require_lock


@csrf_exempt
@require_http_methods(["GET", "PUT"])
@require_lock("/articles/article/{pk}")
def article(request: HttpRequest, pk: int) -> JsonResponse:
    """Read it; or change its text, unless somebody else has it locked."""
    found = get_object_or_404(Article, pk=pk)
    if request.method == "PUT":
        found.text = json.loads(request.body)["text"]
        found.save()
    return JsonResponse({"title": found.title, "text": found.text})
