"""The second yardstick: a proxy made with FastAPI and httpx in the usual way, served by uvicorn with its defaults.

BENCH_UPSTREAM=http://127.0.0.1:5000 uvicorn bench.fastapi_httpx:app --port PORT
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
from fastapi import FastAPI, Header, HTTPException, Request, Response


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(base_url=os.environ["BENCH_UPSTREAM"], verify=False) as app.state.client:  # noqa: S501
        yield


app = FastAPI(lifespan=lifespan)


@app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE"])
async def forward(path: str, request: Request, x_bridge_key: Annotated[str, Header()] = "") -> Response:
    if x_bridge_key != os.environ["BENCH_KEY"]:
        raise HTTPException(401)
    client: httpx.AsyncClient = request.app.state.client
    response = await client.request(
        request.method, f"/v1/api/{path}", params=request.query_params, content=await request.body()
    )
    return Response(response.content, response.status_code, media_type=response.headers["Content-Type"])
