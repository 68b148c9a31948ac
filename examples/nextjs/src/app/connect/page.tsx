import { Suspense } from "react";
import { Connect } from "@/components/connect";

export default function ConnectPage({ searchParams }: PageProps<"/connect">) {
  return (
    <Suspense>
      <WithProblem searchParams={searchParams} />
    </Suspense>
  );
}

/** The callback adds the code of what went wrong. */
async function WithProblem({ searchParams }: { searchParams: PageProps<"/connect">["searchParams"] }) {
  const { problem } = await searchParams;
  return <Connect problem={typeof problem === "string" ? problem : null} />;
}
