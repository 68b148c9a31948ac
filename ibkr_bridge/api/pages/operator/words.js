// Times and numbers as a person reads them.
app.words = {
  // The time of a day, as the reader's clock has it.
  clock: (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false }),
  moment: (at) => new Date(at).toLocaleString([], { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false }),
  // A time in its two largest units.
  span: (seconds) => {
    let left = Math.max(0, Math.floor(seconds));
    const parts = [];
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
      const count = Math.floor(left / size);
      left -= count * size;
      if (parts.length || count || unit === "s") parts.push(`${count} ${unit}`);
    }
    return parts.slice(0, 2).join(" ");
  },
  count: (number, one, many) => `${number} ${number === 1 ? one : many ?? `${one}s`}`,
  milliseconds: (value) => value === null ? "–" : value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`,
};

app.stateWords = {
  starting: "Starting: the session has not been checked yet",
  unreachable: "Unreachable: there is no connection to the Gateway or to IBKR",
  silent: "Silent: the Gateway or IBKR gives no usable response",
  signed_out: "Signed out: nobody is signed in",
  activating: "Activating: IBKR does not know the consumer key yet",
  credential_refused: "Credential refused: IBKR gives no access with this credential",
  opening: "Opening: signed in, the brokerage session is being opened",
  unusable: "Unusable: signed in, but IBKR refuses brokerage calls",
  competing: "Competing: another program uses the session of the same user",
  ready: "Ready: signed in, brokerage calls work",
};
app.stateClass = (state) => state === "ready" ? "ready" : ["starting", "opening"].includes(state) ? "between" : "down";
