// Requests of the page to the routes in src/app/api/ibkr. A failure is a sentence for the person who reads the page.
import { useEffect, useState } from "react";

export async function ask<Answer>(path: string, init?: RequestInit): Promise<Answer> {
  const reply = await fetch(`/api/ibkr${path}`, { cache: "no-store", ...init }).catch(() => null);
  const body: unknown = await reply?.json().catch(() => null);
  if (reply?.ok) return body as Answer;
  throw new Error((body as { user_message?: string } | null)?.user_message ?? "This app does not answer. It is asked again.");
}

export interface Answer<Value> {
  data: Value | null;
  problem: string | null;
}

/** What a path answers. It is read again every `seconds`, and sooner after a failure; the last good answer stays. */
export function useAnswer<Value>(path: string, seconds: number): Answer<Value> {
  const [answer, setAnswer] = useState<Answer<Value> & { path: string }>({ path, data: null, problem: null });
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isWatched = true;
    const read = async () => {
      const next = await ask<Value>(path).then((data) => ({ data, problem: null }), (error: Error) => ({ problem: error.message }));
      if (!isWatched) return;
      setAnswer((last) => ({ data: last.path === path ? last.data : null, ...next, path }));
      timer = setTimeout(read, (next.problem === null ? seconds : 3) * 1000);
    };
    void read();
    return () => {
      isWatched = false;
      clearTimeout(timer);
    };
  }, [path, seconds]);
  return answer.path === path ? answer : { data: null, problem: null };
}
