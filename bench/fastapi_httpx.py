"""The second yardstick: FastAPI and httpx as people write it, served by uvicorn as people start it.

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
async def passed_on(path: str, request: Request, x_bridge_key: Annotated[str, Header()] = "") -> Response:
    if x_bridge_key != os.environ["BENCH_KEY"]:
        raise HTTPException(401)
    client: httpx.AsyncClient = request.app.state.client
    reply = await client.request(
        request.method, f"/v1/api/{path}", params=request.query_params, content=await request.body()
    )
    return Response(reply.content, reply.status_code, media_type=reply.headers["Content-Type"])
