import { Desk } from "@/components/desk";

export default function Home() {
  return <Desk />;
}
