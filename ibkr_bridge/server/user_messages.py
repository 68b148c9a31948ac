"""What an app may show to its user about a failure, and what the user can do. Pure.

The detail and the hint of an error are for the developer and the operator; these sentences are for somebody who has
never heard of the bridge. They say what is certain: above all, whether an order may exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ibkr_bridge import errors
from ibkr_bridge.errors import BridgeError
from ibkr_bridge.models.session import ActionKind

RETRY, WAIT, NONE = ActionKind.RETRY, ActionKind.WAIT, ActionKind.NONE


@dataclass(frozen=True)
class Advice:
    """A sentence for a user, and what the user can do."""

    user_message: str
    kind: ActionKind


APP_FAULT = "This app sent something that the trading connection does not accept."
NOT_ALLOWED = "This app may not do that."
LOST_CONNECTION = "The trading connection is interrupted. Nothing was sent; try again in a moment."
SIGN_IN = Advice("Nobody is signed in at Interactive Brokers. Sign in to go on.", ActionKind.SIGN_IN)
ADVICE: Mapping[type[BridgeError], Advice] = {
    errors.InvalidKey: Advice("This app is not allowed to use the trading connection.", NONE),
    errors.InsufficientScope: Advice(NOT_ALLOWED, NONE),
    errors.HostNotAllowed: Advice(NOT_ALLOWED, NONE),
    errors.OriginNotAllowed: Advice(NOT_ALLOWED, NONE),
    errors.BadPath: Advice(APP_FAULT, NONE),
    errors.BadRequest: Advice(APP_FAULT, NONE),
    errors.NotBridged: Advice(APP_FAULT, NONE),
    errors.MethodNotAllowed: Advice(APP_FAULT, NONE),
    errors.PayloadTooLarge: Advice(APP_FAULT, NONE),
    errors.UriTooLong: Advice(APP_FAULT, NONE),
    errors.UnsupportedMediaType: Advice(APP_FAULT, NONE),
    errors.NotSupported: Advice("The trading connection does not offer this.", NONE),
    errors.ValidationFailed: Advice("Something in the request is not valid. Correct it and try again.", NONE),
    errors.AccountNotFound: Advice("There is no such account.", NONE),
    errors.InstrumentNotFound: Advice("Interactive Brokers does not know this instrument.", NONE),
    errors.OrderNotFound: Advice("There is no such order.", NONE),
    errors.ProfileRequired: Advice("This is a fault of this app. Tell whoever runs it.", NONE),
    errors.ProfileNotFound: Advice("This account is not connected. Tell whoever runs this app.", NONE),
    errors.ProfileExists: Advice("There is an account of this name already.", NONE),
    errors.RequestTokenUnknown: Advice("This sign-in is over, or was begun by somebody else. Begin it again.", NONE),
    errors.AmbiguousSymbol: Advice("Several instruments have this symbol. Choose one of them.", NONE),
    errors.ReadOnly: Advice("Trading is switched off.", NONE),
    errors.PaperOnly: Advice("Only paper accounts may trade here.", NONE),
    errors.AccountNotAllowed: Advice("This account may not trade here.", NONE),
    errors.OrderLimitExceeded: Advice("The order is larger than is allowed here. Nothing was sent.", NONE),
    errors.TradingPaused: Advice("Trading is paused. Nothing was sent.", NONE),
    errors.ConfirmationRequired: Advice("This concerns several orders and must be confirmed first.", NONE),
    errors.OrderInProgress: Advice("Another order must be finished first. Nothing was sent.", WAIT),
    errors.DuplicateOrder: Advice("An order with this name exists already. Nothing was sent.", NONE),
    errors.IdempotencyMismatch: Advice("This order was sent before with other contents. Nothing was sent.", NONE),
    errors.ReplyNotFound: Advice("The question has ended. Look at the order, and place it again if you want it.", NONE),
    errors.RateLimited: Advice("Too many requests at the moment. Try again in a few seconds.", WAIT),
    errors.InPenaltyBox: Advice("Interactive Brokers accepts no requests for some minutes.", WAIT),
    errors.Busy: Advice("The trading connection is busy. Try again in a moment.", RETRY),
    errors.SessionUnavailable: Advice("The connection to Interactive Brokers is being restored.", WAIT),
    errors.Maintenance: Advice("Interactive Brokers is under maintenance.", WAIT),
    errors.ShuttingDown: Advice("The trading connection restarts. Try again in a moment.", RETRY),
    errors.JournalUnavailable: Advice("Orders are not possible at the moment. Nothing was sent.", WAIT),
    errors.MarketDataLimit: Advice("Too many live quotes are in use.", NONE),
    errors.GatewayUnreachable: Advice(LOST_CONNECTION, WAIT),
    errors.GatewayTimeout: Advice("Interactive Brokers does not answer at the moment.", RETRY),
    errors.GatewayProtocolError: Advice("The answer of Interactive Brokers was lost. Try again in a moment.", RETRY),
    errors.GatewayForbidden: Advice("The trading connection is not set up completely.", NONE),
    errors.UpstreamRefused: Advice("Interactive Brokers does not allow this for the user who is signed in.", NONE),
    errors.UpstreamError: Advice("Interactive Brokers could not answer this.", RETRY),
    errors.OrderRejected: Advice("Interactive Brokers rejected this. Nothing was changed.", NONE),
    errors.OrderNotWorking: Advice("The order is over. It can no longer be changed or cancelled.", NONE),
    errors.OrderUnknown: Advice("It is not known whether this was carried out. Do not send it again.", WAIT),
    errors.OrderNotPlaced: Advice("This was not carried out: nothing was placed, changed or cancelled.", NONE),
    errors.Internal: Advice("Something went wrong. Try again later.", NONE),
}
"""By class of error. A test compares it with all classes."""


def advice_on(error: BridgeError) -> Advice:
    """The advice for the user of an app about an error."""
    return SIGN_IN if error.needs_sign_in else ADVICE[type(error)]
