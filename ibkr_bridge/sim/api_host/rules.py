"""What is unknown or chosen about the simulated host, each as one switch, and the counts that tell which form came."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from ibkr_bridge.sim.market.sessions import NEW_YORK

DAY_S = 86_400.0


@dataclass
class Rules:
    """The switches of one host; a test may set them while it runs. All times are seconds."""

    is_strict: bool = True
    """Whether only today's form of a signature is accepted, made for the URL that was called."""
    clock_tolerance_s: float = 300.0
    """How far a timestamp may be from IBKR's clock. What IBKR tolerates is not known."""
    nonce_memory_s: float = 600.0
    """How long a nonce is remembered. Whether IBKR remembers any is not known."""
    clock_skew_s: float = 0.0
    """How far IBKR's clock is ahead of the simulator's."""
    session_token_life_s: float = DAY_S
    tells_time_of_computation: bool = False
    """Whether the field `live_session_token_expiration` is the time at which the token was made."""
    second_token_ends_first: bool = True
    """Whether a new live session token ends the one before. Nobody documents it."""
    midnight_ends_session_token: bool = False
    """Whether midnight of the region ends the live session token too, and not only the brokerage session."""
    brokerage_outlives_session_token: bool = True
    """Whether the brokerage session lives on when a live session token ends. Nobody documents it."""
    idle_life_s: float = 330.0
    """A brokerage session ends after this time without a tickle: IBKR says five minutes, six were seen."""
    only_tickles_keep_alive: bool = True
    """Whether other calls do not keep the brokerage session alive."""
    is_gone_after_logout: bool = False
    """Whether `/iserver` calls answer 410 after a logout, and not 401."""
    validate_is_for_oauth2: bool = True
    """Whether `/sso/validate` refuses sessions of OAuth 1.0a. IBKR only says that it is not for them."""
    refuse_every: int = 0
    """Every n-th signed call is answered with 401 although nothing is wrong with it; 0 for none."""
    activation_s: float = 0.0
    """After this time IBKR's servers know what was uploaded on the page; in truth after a night, or a weekend."""
    request_token_life_s: float = 600.0
    """How long a user may take on IBKR's page. It is not documented."""
    verifier_life_s: float = 300.0
    """How long a verifier fits. It is not documented."""
    assertion_skew_s: float = 60.0
    """How far an assertion of OAuth 2.0 may begin in the future. It is not documented."""
    names_lost_secrets: bool = True
    """Whether the refusal of a token without a secret names it; both texts were seen."""
    has_saturday_window: bool = False
    """Whether everything answers 503 on Saturdays from 18:00 until midnight of the region."""
    calls_per_second: int = 10
    """How many calls a username may make in one second. IBKR says 10 on some pages and 50 on others."""
    time_limit_s: float = 10.0
    """After this time IBKR's front answers for its servers, with an empty 503."""
    region: ZoneInfo = NEW_YORK
    """Where the sessions end at midnight."""
    forms: Counter[str] = field(default_factory=Counter)
    """How often each form of a signature was accepted."""
