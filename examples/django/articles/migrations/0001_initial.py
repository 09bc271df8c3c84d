"""The table of articles."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """One table."""

    initial = True

    dependencies = ()

    operations = (
        migrations.CreateModel(
            name="Article",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=200)),
                ("text", models.TextField(blank=True)),
            ],
            options={
                "abstract": False,
            },
        ),
    )
