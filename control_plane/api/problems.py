"""Errors as problem+json (RFC 9457), with our code, cause and remedy as members of their own."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from contracts.errors import ControlError, CoplaneError

MEDIA_TYPE = "application/problem+json"

_STATUS_BY_CODE = {
    "E1001": 404,
    "E3002": 404,
    "E3003": 409,
    "E3004": 504,
    "E3006": 401,
    "E3007": 409,
    "E4001": 503,
}
_STATUS_BY_FAMILY = {"E1": 422, "E3": 409, "E4": 502}


def problem_of(error: CoplaneError, *, status: int | None = None) -> Response:
    """Return the answer that tells of an error."""
    status = status or _STATUS_BY_CODE.get(error.code) or _STATUS_BY_FAMILY.get(error.code[:2], 500)
    body = {"type": "about:blank", "title": error.what, "status": status, **error.as_dict()}
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    return Response(json.dumps(body), status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of the application as a problem."""
    app.add_exception_handler(CoplaneError, _coplane_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)


async def _coplane_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, CoplaneError)
    return problem_of(exc)


async def _invalid_request(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    why = "; ".join(f"'{_place(error)}': {error['msg']}" for error in exc.errors())
    return problem_of(ControlError("the request is not valid", why=why, code="E3003"), status=422)


async def _http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    what = f"{request.method} {request.url.path} is not possible"
    answer = problem_of(
        ControlError(what, why=str(exc.detail), fix="See /docs", code="E3003"), status=exc.status_code
    )
    answer.headers.update(exc.headers or {})
    return answer


def _place(error: dict[str, Any]) -> str:
    """Return where in the body, path or query an error is."""
    return ".".join(str(part) for part in error["loc"][1:])
