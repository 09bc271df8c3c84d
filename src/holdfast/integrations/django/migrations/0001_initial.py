"""The tables of locks."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Both tables."""

    initial = True

    dependencies = ()

    operations = (
        migrations.CreateModel(
            name="Lock",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("token", models.CharField(max_length=64, unique=True)),
                ("root", models.CharField(db_index=True, max_length=700, verbose_name="resource")),
                ("scope", models.CharField(max_length=16)),
                ("depth", models.CharField(max_length=16)),
                ("holder", models.CharField(max_length=255)),
                ("owner", models.CharField(blank=True, max_length=1000)),
                ("reason", models.CharField(blank=True, max_length=1000)),
                ("client", models.CharField(blank=True, max_length=255, verbose_name="program")),
                ("fencing_token", models.BigIntegerField(unique=True)),
                ("created_at_ms", models.BigIntegerField()),
                ("refreshed_at_ms", models.BigIntegerField()),
                ("expires_at_ms", models.BigIntegerField(null=True)),
                ("ended_at_ms", models.BigIntegerField(null=True)),
                ("ended_how", models.CharField(blank=True, max_length=16)),
                ("ended_by", models.CharField(blank=True, max_length=255)),
                ("ended_reason", models.CharField(blank=True, max_length=1000)),
            ],
            options={
                "ordering": ("root", "fencing_token"),
                "permissions": (("break_lock", "Can break the locks of others"),),
            },
        ),
        migrations.CreateModel(
            name="LockCounter",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("last_fencing_token", models.BigIntegerField(default=0)),
            ],
        ),
    )
