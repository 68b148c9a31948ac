import type { Metadata } from "next";
import { Suspense } from "react";
import { UserSwitch } from "@/components/user-switch";
import "./globals.css";

export const metadata: Metadata = {
  title: "IBKR Bridge",
  description: "An example of an app in front of IBKR Bridge",
};

export default function RootLayout({ children }: LayoutProps<"/">) {
  return (
    <html lang="en">
      <body>
        <Suspense fallback={<nav />}><UserSwitch /></Suspense>
        {children}
      </body>
    </html>
  );
}
