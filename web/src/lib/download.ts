// Files that the server makes, saved by the browser.

import { getFile } from "./api";

/** A file name in which only letters, digits, dots, dashes and underscores are left. */
export function fileName(...parts: string[]): string {
  return parts.map((part) => part.replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 80)).join("_");
}

/** Fetches a file and hands it to the browser's downloads. */
export async function download(
  path: string,
  query: Record<string, string | number>,
  name: string,
): Promise<void> {
  const address = URL.createObjectURL(await getFile(path, query, "text/csv"));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  // The browser has opened it once this task is over.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
