// A list that comes in pages, fetched again from time to time while somebody looks at its beginning.

import { type CallOptions, explain, get, isAborted, Problem } from "./api";
import type { Page } from "./types";

const PAGE = 100;

export class Listing<T, P extends Page<T> = Page<T>> {
  items = $state.raw<T[]>([]);
  /** The page that came last; null before one has come. */
  page = $state.raw<P | null>(null);
  error = $state("");
  #path: string;
  #query: () => CallOptions["query"];
  #isWhole = true;
  #request: AbortController | undefined;

  /** `query` is asked anew for each request; in an effect, what it reads is what the list follows. */
  constructor(path: string, query: () => CallOptions["query"] = () => ({})) {
    this.#path = path;
    this.#query = query;
  }

  get loaded(): boolean {
    return this.page !== null;
  }

  get hasMore(): boolean {
    return this.page !== null && this.page.next !== null;
  }

  /** Begins again at the first page. */
  load = (): Promise<void> => this.#fetch("");

  /** Adds the next page. */
  more = (): Promise<void> => this.#fetch(this.page?.next ?? "");

  /**
   * For an effect: loads now and every `ms`, until what it gives is called. It does not while `isHeld`, nor once
   * a page was added by hand.
   */
  follow(ms?: number, isHeld: () => boolean = () => false): () => void {
    this.load();
    const timer =
      ms === undefined
        ? undefined
        : setInterval(() => {
            if (!document.hidden && this.#isWhole && !isHeld()) this.load();
          }, ms);
    return () => {
      clearInterval(timer);
      this.#request?.abort();
    };
  }

  async #fetch(cursor: string): Promise<void> {
    this.#request?.abort();
    const { signal } = (this.#request = new AbortController());
    this.#isWhole = cursor === "";
    const wanted = { limit: PAGE, cursor, ...this.#query() };
    try {
      const page = await get<P>(this.#path, wanted, signal);
      this.items = cursor ? [...this.items, ...page.items] : page.items;
      this.page = page;
      this.error = "";
    } catch (thrown) {
      if (isAborted(thrown)) return;
      this.error = explain(thrown);
      // What was refused must not look like what was asked for; what could not be had may be a moment old.
      if (thrown instanceof Problem && thrown.status >= 400 && thrown.status < 500) {
        this.items = [];
        this.page = null;
      }
    }
  }
}
