"""The API without a cluster: manage.py test"""

from django.test import TestCase


class Api(TestCase):
    """What clients do."""

    def post(self, document):
        """Asks for a new one."""
        return self.client.post("/djangoapi/todos", document, content_type="application/json")

    def todos(self):
        """All of them."""
        return self.client.get("/djangoapi/todos").json()["todos"]

    def test_a_todo_is_added_done_and_removed(self):
        """From beginning to end."""
        added = self.post({"title": " water the plants "})
        self.assertEqual(added.status_code, 201)
        number = added.json()["id"]
        self.assertEqual(self.todos(), [{"id": number, "title": "water the plants", "done": False}])
        path = f"/djangoapi/todos/{number}"
        self.client.patch(path, {"done": True}, content_type="application/json")
        self.assertTrue(self.todos()[0]["done"])
        self.assertIn(b'todo_items{done="true"} 1', self.client.get("/djangoapi/metrics").content)
        self.assertEqual(self.client.delete(path).status_code, 204)
        self.assertEqual(self.todos(), [])

    def test_nonsense_is_refused(self):
        """With a reason."""
        self.assertEqual(self.post({"title": "  "}).json(), {"error": "a title has 1 to 200 characters"})
        form = self.client.post("/djangoapi/todos", {"title": "of a form"})
        self.assertEqual(form.status_code, 400)
        self.assertEqual(self.client.delete("/djangoapi/todos/7").status_code, 404)
        self.assertEqual(self.client.get("/djangoapi/health").content, b"ok\n")
