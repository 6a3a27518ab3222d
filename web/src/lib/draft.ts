// What somebody is writing and has not saved, kept in this tab until it is saved or given up.

const PREFIX = "roost.draft.";

/** The members of a draft are texts. */
export type Draft<K extends string> = Record<K, string>;

/** The draft under this key, if there is one with all these members. */
export function readDraft<K extends string>(key: string, members: readonly K[]): Draft<K> | null {
  try {
    const found: unknown = JSON.parse(sessionStorage.getItem(PREFIX + key) ?? "null");
    if (typeof found !== "object" || found === null) return null;
    const texts = found as Record<string, unknown>;
    return members.every((member) => typeof texts[member] === "string") ? (found as Draft<K>) : null;
  } catch {
    return null; // storage is switched off, or somebody else wrote there
  }
}

/** Keeps a draft; null gives it up. */
export function keepDraft(key: string, draft: Draft<string> | null): void {
  try {
    if (draft) sessionStorage.setItem(PREFIX + key, JSON.stringify(draft));
    else sessionStorage.removeItem(PREFIX + key);
  } catch {
    // Storage is switched off or full: the draft lasts as long as the room is open.
  }
}
