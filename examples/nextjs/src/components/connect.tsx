"use client";
import type { Connection, ConnectionKind } from "@ibkr-bridge/client";
import { BridgeError, BridgePath, callbackProblem, useConnection } from "@ibkr-bridge/client/react";
import { useState } from "react";
import { ConnectGuide } from "@/components/connect-guide";
import { callConnection, ROUTES } from "@/lib/connection";

const TONES: Partial<Record<Connection["step"], string>> = { connected: "good", refused: "bad" };
const WARNING = "This removes the connection and its keys. Keys of your own count at Interactive Brokers only after a night.";
const time = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export function Connect({ problem }: { problem: string | null }) {
  return (
    <BridgePath value={ROUTES}>
      <header><h1>Connect Interactive Brokers</h1></header>
      <State problemBefore={callbackProblem(problem)} />
    </BridgePath>
  );
}

function State({ problemBefore }: { problemBefore: string | null }) {
  const connection = useConnection({ seconds: 2 }); // it moves by itself: keys are made, and IBKR activates them
  const [problem, setProblem] = useState(problemBefore);
  const [isBusy, setIsBusy] = useState(false);
  if (connection.data === null) {
    return <p className="banner wait" role="status">{connection.error?.userMessage ?? "Loading …"}</p>;
  }
  const state = connection.data;
  const run = async (work: () => Promise<unknown>) => {
    setIsBusy(true);
    setProblem(await work().then(() => null, (error: BridgeError) => error.userMessage));
    await connection.refresh();
    setIsBusy(false);
  };
  const begin = (kind: ConnectionKind) => run(async () => {
    const { page } = await callConnection<Connection>("", "POST", { kind });
    if (kind === "oauth1a-third-party" && page !== null) location.assign(page);
  });
  return (
    <>
      {problem !== null && <p className="banner bad" role="alert">{problem}</p>}
      <p className={`banner ${TONES[state.step] ?? "wait"}`} role="status">
        <strong>{state.message}</strong> {state.todo}
        {state.next_try !== null && ` IBKR is asked again at ${time.format(new Date(state.next_try))}.`}
      </p>
      <section className="card connect" aria-label="Connection">
        {state.step === "not_begun" && <Begin kinds={state.kinds} isBusy={isBusy} onBegin={begin} />}
        {state.step === "authorize" && <Authorize state={state} isBusy={isBusy} onBegin={begin} />}
        {state.kind === "oauth1a" && ["upload", "activating", "refused"].includes(state.step) && (
          <ConnectGuide state={state} isBusy={isBusy} run={run} />
        )}
        {state.step === "connected" && <p><a href="/">Go on to your accounts</a></p>}
        {state.kind !== null && state.kind !== "gateway" && (
          <button disabled={isBusy} onClick={() => { if (confirm(WARNING)) void run(() => callConnection("", "DELETE")); }}>
            {state.step === "connected" ? "Disconnect" : "Begin again from the start"}
          </button>
        )}
        {state.kind === "gateway" && <p className="quiet">This user is connected through a Gateway, where a person signs in.</p>}
      </section>
    </>
  );
}

interface Beginning {
  isBusy: boolean;
  onBegin: (kind: ConnectionKind) => void;
}

function Begin({ kinds, isBusy, onBegin }: Beginning & { kinds: Connection["kinds"] }) {
  return (
    <>
      {kinds.includes("oauth1a-third-party") && (
        <>
          <p>Sign in at Interactive Brokers, and allow this app to trade for you. This page never sees your password.</p>
          <button className="main" disabled={isBusy} onClick={() => onBegin("oauth1a-third-party")}>Connect IBKR</button>
        </>
      )}
      {kinds.includes("oauth1a") && (
        <>
          <p>Or with keys of your own, which you upload to Interactive Brokers once. It takes a night to count there.</p>
          <button disabled={isBusy} onClick={() => onBegin("oauth1a")}>Make keys</button>
        </>
      )}
    </>
  );
}

function Authorize({ state, isBusy, onBegin }: Beginning & { state: Connection }) {
  return (
    <>
      <p><a href={state.page ?? ""}>Go on at Interactive Brokers</a></p>
      {state.kind !== "gateway" && (
        <button disabled={isBusy} onClick={() => onBegin("oauth1a-third-party")}>Begin again</button>
      )}
    </>
  );
}
