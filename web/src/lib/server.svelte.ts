// What the server says about itself, asked for once.

import { get } from "./api";
import type { ServerInfo } from "./types";

class ServerState {
  info = $state.raw<ServerInfo | null>(null);

  async load(): Promise<void> {
    try {
      this.info = await get<ServerInfo>("/server");
    } catch {
      // Snippets then fall back to the address of this page and the usual ports.
      this.info = null;
    }
  }
}

export const server = new ServerState();
