"""The table of places in line."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """One table more."""

    dependencies = (("holdfast", "0001_initial"),)

    operations = (
        migrations.CreateModel(
            name="LockPlace",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("seq", models.BigIntegerField(unique=True)),
                ("root", models.CharField(db_index=True, max_length=700, verbose_name="resource")),
                ("scope", models.CharField(max_length=16)),
                ("depth", models.CharField(max_length=16)),
                ("principal", models.CharField(max_length=255, verbose_name="who waits")),
                ("owner", models.CharField(blank=True, max_length=1000)),
                ("entered_at_ms", models.BigIntegerField()),
                ("kept_until_ms", models.BigIntegerField()),
            ],
            options={"ordering": ("seq",)},
        ),
    )
