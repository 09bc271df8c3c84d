"""The admin shows who edits, and asks before it breaks."""

from django.contrib import admin

from articles.models import Article
from holdfast.integrations.django.admin import LockableAdmin


@admin.register(Article)
class ArticleAdmin(LockableAdmin):
    """One line of difference to an ordinary admin: its base."""

    list_display = ("title",)
