// How many devices wait to be let in, for the mark beside the room's name.

import { get } from "./api";
import { session } from "./session.svelte";
import type { InboxPage } from "./types";

const REFRESH_MS = 20_000;

class InboxCount {
  waiting = $state(0);

  constructor() {
    setInterval(() => {
      if (!document.hidden && session.status === "in") this.load();
    }, REFRESH_MS);
  }

  async load(): Promise<void> {
    try {
      this.waiting = (await get<InboxPage>("/inbox", { limit: 1 })).total;
    } catch {
      // The room itself says what is wrong; a mark that is a moment old harms nobody.
    }
  }
}

export const inboxCount = new InboxCount();
