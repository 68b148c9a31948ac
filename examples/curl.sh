#!/usr/bin/env bash
# A tour of the plain API with curl: read an account, look at prices, place an order, answer IBKR's question, change the
# order, cancel it, and see an error. It places orders, so it runs with paper accounts only.
#
#   make demo                            # in one terminal; it prints two `export` lines
#   bash examples/curl.sh                # in another one, after these two lines
set -euo pipefail
: "${IBKR_BRIDGE_URL:?set it to the address of the bridge, such as http://127.0.0.1:8000}"
: "${IBKR_BRIDGE_KEY:?set it to the key of the bridge}"

step() { printf '\n== %s\n' "$*"; }

# Send one request. --fail-with-body makes an HTTP error a failure of this script, and still prints what came.
# The key goes through a pipe: as an argument, all users of the machine could see it.
call() {
  curl --silent --show-error --fail-with-body --max-time 90 --config <(printf 'header = "X-Bridge-Key: %s"\n' "$IBKR_BRIDGE_KEY") \
    --header "Content-Type: application/json" --request "$1" "${@:3}" "$IBKR_BRIDGE_URL$2"
}

# The text of a member in the JSON of standard input; of the first one, if there are several.
member() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }

# Show an answer, and keep it in `answer`.
show() {
  answer=$(call "$@") || { printf '%s\n' "$answer"; exit 1; }
  printf '%s\n' "$answer"
}

expect() { # a member, and the value that it must have
  [ "$(member "$1" <<<"$answer")" = "$2" ] || { printf 'expected %s to be %s\n' "$1" "$2" >&2; exit 1; }
}

step "Can I trade now? ready and can_trade say it; if not, message and action are for your user."
show GET /session
expect mode paper

step "Which accounts are there?"
show GET /accounts
account=$(member id <<<"$answer")

step "How much is the first one worth? All figures are decimals, written as text."
show GET "/account/balance?account=$account"

step "What does it hold?"
show GET "/accounts/$account/positions"

step "What do things cost? A wrong symbol does not spoil the others: see problems."
show GET "/quotes?symbols=AAPL,SAP@IBIS,EUR.USD,NOSUCH"

step "What did AAPL cost in the last five days?"
show GET "/history?symbol=AAPL&period=5d&bar=1d"

step "Place an order. Its limit is far from the market, so IBKR asks first: state is question."
ticket='{"symbol":"AAPL","side":"buy","type":"limit","quantity":"10","limit_price":"150.25"}'
show POST "/accounts/$account/orders" --header "Idempotency-Key: tour-$$-$RANDOM" --data "$ticket"
expect state question
order=$(member id <<<"$answer")
question=$(grep -o '"question":{"id":"[^"]*"' <<<"$answer" | cut -d '"' -f 6)

step "Answer yes. The order is then placed, and works."
show POST "/orders/$order/answer" --data "{\"confirm\":true,\"question_id\":\"$question\"}"
expect state placed

step "Change its quantity. IBKR asks again: the answer is the change itself, with an id of its own."
show PATCH "/orders/$order" --data '{"quantity":"5"}'
if [ "$(member state <<<"$answer")" = question ]; then
  show POST "/orders/$(member id <<<"$answer")/answer" --data '{"confirm":true}'
fi
expect state placed

step "Cancel it. cancelling means that IBKR has accepted the cancel."
show DELETE "/orders/$order"
expect status cancelling

step "The last order calls: the placement, the change and the cancel."
show GET "/orders?limit=3"

step "An error: a limit order without a limit. code is for the program, user_message for the user, field for the form."
if answer=$(call POST "/accounts/$account/orders" --data '{"symbol":"AAPL","side":"buy","type":"limit","quantity":"1"}' 2>/dev/null); then
  printf 'this order should have been refused\n' >&2
  exit 1
fi
printf '%s\n' "$answer"
grep -q '"field": *"limit_price"' <<<"$answer"

step "Done."
