// The time for "12 s ago" texts: one timer for the whole page.

import { serverNow } from "./api";

class Clock {
  now = $state(serverNow());

  constructor() {
    setInterval(() => {
      if (!document.hidden) this.now = serverNow();
    }, 1000);
  }
}

export const clock = new Clock();
