"""Settings: all that differs between places comes from the environment, out of a ConfigMap and a Secret."""

import os

SECRET_KEY = os.environ.get("SECRET_KEY", "only for tests")
# The ingress decides who comes here, and probes come by the pod's address.
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["todo"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "todo.urls"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# What the list is called.
LIST_TITLE = os.environ.get("LIST_TITLE", "Things to do")

if "DATABASE_HOST" in os.environ:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": os.environ["DATABASE_HOST"],
            "NAME": os.environ["DATABASE_NAME"],
            "USER": os.environ["DATABASE_USER"],
            "PASSWORD": os.environ["DATABASE_PASSWORD"],
            "CONN_MAX_AGE": 60,
            # A connection to a database that has moved is closed and reopened.
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": {"connect_timeout": 3, "tcp_user_timeout": 3000},
        }
    }
else:
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
