"use client";
import { useEffect } from "react";

/** Loads a page again that the browser kept for "Back": it may show another user. */
export function FreshPage() {
  useEffect(() => {
    const reload = (event: PageTransitionEvent) => { if (event.persisted) location.reload(); };
    addEventListener("pageshow", reload);
    return () => removeEventListener("pageshow", reload);
  }, []);
  return null;
}
