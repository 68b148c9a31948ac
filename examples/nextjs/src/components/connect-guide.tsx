import type { CheckedCredential, Connection } from "@ibkr-bridge/client";
import { useState, type FormEvent } from "react";
import { callConnection } from "@/lib/connection";

const FIELDS: Readonly<Record<string, string>> = {
  "public_signature.pem": "public signing key",
  "public_encryption.pem": "public encryption key",
  "dhparam.pem": "Diffie-Hellman parameters",
};

interface Props {
  state: Connection;
  isBusy: boolean;
  run: (work: () => Promise<unknown>) => Promise<void>;
}

/** What a user does on IBKR's page, in its order, and the form for what he brings back. */
export function ConnectGuide({ state, isBusy, run }: Props) {
  if (state.step === "activating") return <Activating isBusy={isBusy} run={run} />;
  return (
    <ol>
      <li>
        Save these three files.
        <ul className="files">
          {Object.entries(state.files).map(([name, text]) => (
            <li key={name}>
              <a download={name} href={`data:application/x-pem-file,${encodeURIComponent(text)}`}>{name}</a>
              <small>{FIELDS[name]}</small>
            </li>
          ))}
        </ul>
      </li>
      <li>
        Open <a href={state.page ?? ""} target="_blank" rel="noreferrer">the page of Interactive Brokers</a>, sign in, and
        choose a consumer key of nine letters.
      </li>
      <li>Upload each file to its own field. The two keys are easily swapped.</li>
      <li>Generate the access token, and switch “Enable OAuth Access” on. The secret is shown once.</li>
      <li>Enter here what the page shows. <Tokens isBusy={isBusy} run={run} /></li>
    </ol>
  );
}

function Tokens({ isBusy, run }: Omit<Props, "state">) {
  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const tokens = Object.fromEntries(new FormData(event.currentTarget));
    void run(() => callConnection("/tokens", "POST", tokens));
  };
  return (
    <form onSubmit={send} autoComplete="off">
      <label>Consumer key <input name="consumer_key" required pattern="\s*[A-Za-z]{9}\s*" title="nine letters" /></label>
      <label>Access token <input name="access_token" required /></label>
      <label>Access token secret <input name="access_token_secret" required /></label>
      <button className="main" disabled={isBusy}>Connect</button>
    </form>
  );
}

function Activating({ isBusy, run }: Omit<Props, "state">) {
  const [found, setFound] = useState("");
  const check = () => run(async () => setFound((await callConnection<CheckedCredential>("/check", "POST")).text));
  return (
    <>
      <p>This page shows by itself when Interactive Brokers has activated your keys. You may close it.</p>
      <button disabled={isBusy} onClick={check}>Ask now</button>
      {found !== "" && <p className="quiet" role="status">{found}</p>}
    </>
  );
}
