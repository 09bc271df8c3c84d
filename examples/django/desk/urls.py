"""The admin, the articles, and the locks' own routes."""

from articles.views import article
from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("articles/<int:pk>", article),
    path("locks", include("holdfast.integrations.django.urls")),
    *staticfiles_urlpatterns(),
]
