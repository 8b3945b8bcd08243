"""What is kept."""

from django.db import models


class Todo(models.Model):
    """Something to do."""

    title = models.CharField(max_length=200)
    done = models.BooleanField(default=False)
    added = models.DateTimeField(auto_now_add=True)

    class Meta:
        """Oldest first."""

        ordering = ("id",)

    def document(self):
        """It as the API shows it."""
        return {"id": self.pk, "title": self.title, "done": self.done}
