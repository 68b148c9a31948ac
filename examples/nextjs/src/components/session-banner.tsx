import { useSession } from "@ibkr-bridge/client/react";

const NOT_CONNECTED = ["credential_refused", "activating"]; // only the user can help, or a night

export function SessionBanner({ isLive }: { isLive: boolean }) {
  const session = useSession({ seconds: 2 });
  if (session.state === "loading") return <p className="banner wait" role="status">Connecting …</p>;
  if (session.state === "failed") {
    return <p className="banner bad" role="alert">{session.error.userMessage} This page tries again by itself.</p>;
  }
  const { ready, state, message, action, mode } = session.data;
  if (ready) {
    return (
      <p className={isLive ? "banner good" : "banner wait"} role="status">
        {message} {mode === "paper" ? "Paper account: no real money." : "Real money."}
        {!isLive && " The prices below are old until the stream is back."}
      </p>
    );
  }
  if (NOT_CONNECTED.includes(state)) {
    return <p className="banner wait" role="status">{message} <a href="/connect">Connect Interactive Brokers</a></p>;
  }
  return (
    <p className="banner bad" role="alert">
      {message}{" "}
      {action.kind === "sign_in" ? <a href={action.url} target="_blank" rel="noreferrer">Sign in</a> : "This page tries again by itself."}
    </p>
  );
}
