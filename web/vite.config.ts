import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// `npm run dev` talks to a server on this address: Roost itself, or dev/mock.mjs.
const backend = {
  target: process.env["ROOST_URL"] ?? "http://127.0.0.1:8080",
  // The server takes a cookie only from its own pages: `Host` must stay what `Origin` says, the address of `vite dev`.
  changeOrigin: false,
};

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: "es2022",
    // The content security policy has no `data:`, so every asset is a file of its own.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // A slow machine is no finding.
    rolldownOptions: { checks: { bundlerTimings: false, pluginTimings: false } },
  },
  server: { proxy: { "/api": backend, "/openapi.json": backend } },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
