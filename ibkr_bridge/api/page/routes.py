"""The routes of the operator's page. They are no part of the API: no key opens them, and the page's cookie opens no
other route.
"""

from __future__ import annotations

from ibkr_bridge.api.page import access, actions, live
from ibkr_bridge.api.route import Auth, Route
from ibkr_bridge.ibkr.endpoint import Effect

READ, TRADE = Effect.READ, Effect.TRADE
PAGE_ROUTES: tuple[Route, ...] = (
    Route("GET", "/", READ, Auth.OPEN, access.index, media_type="text/html"),
    Route("POST", "/page/session", READ, Auth.PAGE, access.open_session),
    Route("DELETE", "/page/session", READ, Auth.PAGE, access.close_session),
    Route("GET", "/page/events", READ, Auth.PAGE, live.events, endless=True, media_type="text/event-stream"),
    Route("GET", "/page/orders/{id}", READ, Auth.PAGE, actions.show_order),
    Route("POST", "/page/orders/{id}/answer", TRADE, Auth.PAGE, actions.answer_question),
    Route("POST", "/page/requests/{number}/repeat", READ, Auth.PAGE, actions.repeat),
    Route("POST", "/page/faults", READ, Auth.PAGE, actions.trigger_fault),
    Route("DELETE", "/page/faults", READ, Auth.PAGE, actions.clear_faults),
    Route("POST", "/page/sign-in", READ, Auth.PAGE, actions.sign_in),
)
