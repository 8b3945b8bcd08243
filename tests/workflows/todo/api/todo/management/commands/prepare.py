"""Waits for the database and migrates it: one pod does, the others wait for it."""

import time

from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import OperationalError, connection

# Any number that nobody else uses in this database.
LOCK = 20261121
LIMIT = 120


class Command(BaseCommand):
    """manage.py prepare"""

    help = __doc__

    def handle(self, *_args, **_options):
        """Runs it."""
        end = time.monotonic() + LIMIT
        while True:
            try:
                connection.ensure_connection()
                break
            except OperationalError as error:
                if time.monotonic() > end:
                    raise
                self.stdout.write(f"waiting for the database: {error}")
                time.sleep(0.5)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            call_command("migrate", interactive=False)
