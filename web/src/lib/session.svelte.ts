// Who is signed in, and what that person may do.

import { get, post, remove, Problem, whenUnauthorized } from "./api";
import type { Session } from "./types";

// Says only that a sign-in happened here, so that a fresh visitor's page need not ask and be refused.
const MARK = "roost.signed-in";

function mark(set: boolean): void {
  try {
    if (set) localStorage.setItem(MARK, "1");
    else localStorage.removeItem(MARK);
  } catch {
    // Storage is switched off: the page asks the server every time.
  }
}

function isMarked(): boolean {
  try {
    return localStorage.getItem(MARK) !== null;
  } catch {
    return true;
  }
}

class SessionState {
  status = $state<"starting" | "setup" | "out" | "in" | "unreachable">("starting");
  current = $state.raw<Session | null>(null);
  /** Whether it ended without its person's doing. */
  hasEnded = $state(false);

  constructor() {
    whenUnauthorized(() => {
      this.hasEnded ||= this.status === "in";
      this.#end();
    });
  }

  /** May send commands and write twins. */
  get canOperate(): boolean {
    return this.current !== null && this.current.user.role !== "viewer";
  }

  /** May add, change and delete devices, let them in, and look after the broker. */
  get canAdminister(): boolean {
    return this.isOwner || this.current?.user.role === "admin";
  }

  /** May give tokens and let people in. */
  get isOwner(): boolean {
    return this.current?.user.role === "owner";
  }

  /** Finds out whether somebody is signed in, or whether the server has no owner yet. */
  async start(): Promise<void> {
    this.status = "starting";
    try {
      if (isMarked()) {
        this.#begin(await get<Session>("/session"));
        return;
      }
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 401) {
        this.status = "unreachable";
        return;
      }
      mark(false);
    }
    try {
      const { needed } = await get<{ needed: boolean }>("/setup");
      this.status = needed ? "setup" : "out";
    } catch {
      this.status = "unreachable";
    }
  }

  async signIn(email: string, password: string): Promise<void> {
    this.#begin(await post<Session>("/session", { email, password }));
  }

  async setUp(token: string, owner: { name: string; email: string; password: string }): Promise<void> {
    const { name, ...rest } = owner;
    await post("/setup", { token, ...rest, ...(name ? { name } : {}) });
    mark(true);
    this.#begin(await get<Session>("/session"));
  }

  /** Takes over what has changed about who is signed in. */
  async refresh(): Promise<void> {
    this.current = await get<Session>("/session");
  }

  async signOut(): Promise<void> {
    await remove("/session");
    this.#end();
  }

  #begin(session: Session): void {
    mark(true);
    this.hasEnded = false;
    this.current = session;
    this.status = "in";
  }

  #end(): void {
    mark(false);
    this.current = null;
    this.status = "out";
  }
}

export const session = new SessionState();
