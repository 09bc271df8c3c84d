"""An article, which can be locked. The mixin adds no column."""

from django.db import models

from holdfast.integrations.django.lockable import Lockable


class Article(Lockable, models.Model):
    """What somebody writes."""

    title = models.CharField(max_length=200)
    text = models.TextField(blank=True)

    def __str__(self) -> str:
        return self.title
