"""An OAuth provider in a process of its own: django-oauth-toolkit, with rotating refresh tokens and PKCE.

`python -m tests.helpers.provider FOLDER` serves it on a port that it writes to FOLDER/port. Its database is
in FOLDER, and `slow`, whose text is the seconds between a renewal and its answer. `asked` and `called` are
what it was asked for. `/api/…` takes anything with a token; `/odd/…` are the ways in which providers differ
from the standard.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

USER, PASSWORD = "ada", "lovelace"
CLIENT_ID, CLIENT_SECRET = "revetl-app", "app-secret-1f0c"
PLAIN_ID = "revetl-plain"
"""Of an app that needs no PKCE."""
REDIRECTS = "http://127.0.0.1/callback http://localhost/callback https://localhost/callback"
ACCOUNT = "https://acme.example.com"


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
            f"{__name__}.other_headers",
        ],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        OAUTH2_PROVIDER={
            "SCOPES": {"people": "People", "lists": "Lists"},
            "PKCE_REQUIRED": f"{__name__}.needs_pkce",
            "ALLOW_LOCALHOST_LOOPBACK": True,
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
        for client_id in (CLIENT_ID, PLAIN_ID):
            Application.objects.create(
                name=client_id,
                client_id=client_id,
                client_secret=CLIENT_SECRET,
                client_type="confidential",
                authorization_grant_type="authorization-code",
                # Of a loopback redirect any port (RFC 8252, section 7.3); what is https has to be the same.
                redirect_uris=REDIRECTS,
            )


def needs_pkce(client_id: str) -> bool:
    """Whether an app has to prove that it is the one that asked."""
    return client_id == CLIENT_ID


def other_headers(get_response: Any) -> Any:
    """Tokens in the headers that some have in the place of `Authorization: Bearer`."""

    def answer(request: Any) -> Any:
        said = request.headers.get("Authorization", "")
        if token := request.headers.get("Access-Token") or said.partition("OAuth ")[2]:
            request.META["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        return get_response(request)

    return answer


def serve(folder: Path) -> None:
    """Serve until it is ended."""
    import django

    configure(folder)
    django.setup()
    populate()
    from django.contrib.auth import authenticate, login
    from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
    from django.test import RequestFactory
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
            if answer.status_code == 200:
                about = {"instance_url": ACCOUNT, "api_domain": ACCOUNT}
                answer.content = json.dumps({**json.loads(answer.content), **about}).encode()
            return answer

    def in_json(request: HttpRequest) -> HttpResponse:
        """The token endpoint of TikTok."""
        names = {"app_id": "client_id", "secret": "client_secret", "auth_code": "code"}
        given = {names.get(name, name): value for name, value in json.loads(request.body).items()}
        made = RequestFactory().post("/o/token/", given)
        answer = Slow.as_view()(made)
        data = json.loads(answer.content)
        code = 0 if answer.status_code == 200 else 40_002
        return JsonResponse({"code": code, "message": data.get("error", "OK"), "data": data})

    def by_app_id(request: HttpRequest) -> HttpResponse:
        """The authorization endpoint of TikTok."""
        given = request.GET.copy()
        given["client_id"] = given.pop("app_id")[0]
        return HttpResponseRedirect(f"/o/authorize/?{given.urlencode()}")

    class Api(ProtectedResourceView):  # type: ignore[misc]
        required_scopes = ()

        def _answer(self, request: HttpRequest, *_: Any, **__: Any) -> JsonResponse:
            with (folder / "called").open("a") as log:
                log.write(f"{request.method} {request.path}\n")
            return JsonResponse(
                {"results": [], "data": {}, "code": 0, "request_status": "SUCCESS", "dc": "us6"}
            )

        get = post = put = delete = _answer

    global urlpatterns
    urlpatterns = [
        path("login/", sign_in),
        path("o/token/", Slow.as_view()),
        path("odd/token/", in_json),
        path("odd/authorize/", by_app_id),
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

    server = Server(("127.0.0.1", 0), Quiet)
    server.set_app(get_wsgi_application())
    (folder / "port.new").write_text(str(server.server_port))
    (folder / "port.new").rename(folder / "port")
    server.serve_forever()


urlpatterns: list[Any] = []

if __name__ == "__main__":
    sys.modules["tests.helpers.provider"] = sys.modules["__main__"]
    serve(Path(sys.argv[1]))
