"""The API's paths."""

from django.urls import path

from todo import views

urlpatterns = [
    path("djangoapi/", views.about),
    path("djangoapi/todos", views.todos),
    path("djangoapi/todos/<int:number>", views.todo),
    path("djangoapi/health", views.health),
    path("djangoapi/metrics", views.metrics),
]
