"""An OAuth provider in a process of its own: django-oauth-toolkit, with rotating refresh tokens and PKCE.

`python -m tests.support.provider FOLDER PORT` serves it; its database and `slow`, a file whose text is the
seconds between a renewal and its answer, are in FOLDER. `/api/…` takes anything that is posted with a token.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

USER, PASSWORD = "ada", "lovelace"
CLIENT_ID, CLIENT_SECRET = "revetl-app", "app-secret-1f0c"


def configure(folder: Path) -> None:
    """Django's settings, in code."""
    from django.conf import settings

    settings.configure(
        SECRET_KEY="test",
        DEBUG=False,
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        LOGIN_URL="/login/",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": folder / "provider.sqlite",
                "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
            }
        },
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "oauth2_provider",
        ],
        # The tables as they are by now, in one step.
        MIGRATION_MODULES=dict.fromkeys(("auth", "contenttypes", "sessions", "oauth2_provider")),
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        OAUTH2_PROVIDER={
            "SCOPES": {"people": "People", "lists": "Lists"},
            "PKCE_REQUIRED": True,
            "ROTATE_REFRESH_TOKEN": True,
            "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0,
            "ACCESS_TOKEN_EXPIRE_SECONDS": int(os.environ.get("PROVIDER_SECONDS", "3600")),
        },
    )


def populate() -> None:
    """One user and one app, the first time."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from oauth2_provider.models import Application

    call_command("migrate", run_syncdb=True, verbosity=0)
    if not User.objects.exists():
        User.objects.create_user(USER, password=PASSWORD)
        Application.objects.create(
            name="revetl",
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            client_type="confidential",
            authorization_grant_type="authorization-code",
            # Of a loopback redirect any port (RFC 8252, section 7.3); what is https has to be the same.
            redirect_uris="http://127.0.0.1/callback http://localhost:8765/callback https://localhost/callback",
        )


def serve(folder: Path, port: int) -> None:
    """Serve until it is ended."""
    import django

    configure(folder)
    django.setup()
    populate()
    from django.contrib.auth import authenticate, login
    from django.http import HttpRequest, HttpResponse, JsonResponse
    from django.urls import include, path
    from oauth2_provider.views import ProtectedResourceView, TokenView

    def sign_in(request: HttpRequest) -> HttpResponse:
        user = authenticate(request, username=request.POST["username"], password=request.POST["password"])
        login(request, user)
        return HttpResponse("in")

    class Slow(TokenView):  # type: ignore[misc]
        def post(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
            answer = super().post(request, *args, **options)
            with (folder / "asked").open("a") as log:
                log.write(f"{request.POST.get('grant_type')} {answer.status_code}\n")
            slow = folder / "slow"
            time.sleep(float(slow.read_text()) if slow.exists() else 0.0)
            return answer

    class Api(ProtectedResourceView):  # type: ignore[misc]
        required_scopes = ()

        def _answer(self, request: HttpRequest, *_: Any, **__: Any) -> JsonResponse:
            with (folder / "called").open("a") as log:
                log.write(f"{request.method} {request.path}\n")
            return JsonResponse({"results": [], "data": [], "id": "1"})

        get = post = put = delete = _answer

    global urlpatterns
    urlpatterns = [
        path("login/", sign_in),
        path("o/token/", Slow.as_view()),
        path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
        path("api/<path:rest>", Api.as_view()),
    ]
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

    from django.core.wsgi import get_wsgi_application

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", port), Quiet)
    server.set_app(get_wsgi_application())
    (folder / "port.new").write_text(str(server.server_port))
    (folder / "port.new").rename(folder / "port")
    server.serve_forever()


urlpatterns: list[Any] = []

if __name__ == "__main__":
    sys.modules["tests.support.provider"] = sys.modules["__main__"]
    serve(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
