import type { NextConfig } from "next";

const nextConfig: NextConfig = {
  cacheComponents: true,
  partialPrefetching: true,
  agentRules: false, // otherwise `next dev` writes a file for coding agents into this folder
};

export default nextConfig;
