// Light, dark, or what the system says; kept in this browser.

const KEY = "roost.theme";
export type Choice = "system" | "light" | "dark";

function stored(): Choice {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "system";
  } catch {
    return "system";
  }
}

class Theme {
  choice = $state<Choice>(stored());
  #systemDark = $state(false);

  constructor() {
    const media = matchMedia("(prefers-color-scheme: dark)");
    this.#systemDark = media.matches;
    media.addEventListener("change", (event) => (this.#systemDark = event.matches));
    this.#apply();
  }

  get isDark(): boolean {
    return this.choice === "dark" || (this.choice === "system" && this.#systemDark);
  }

  /** Light to dark and back; the choice that the system would make anyway is not kept. */
  toggle(): void {
    const next = this.isDark ? "light" : "dark";
    this.choice = (next === "dark") === this.#systemDark ? "system" : next;
    this.#apply();
    try {
      if (this.choice === "system") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, this.choice);
    } catch {
      // Storage is switched off: the choice lasts as long as the page.
    }
  }

  #apply(): void {
    if (this.choice === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = this.choice;
  }
}

export const theme = new Theme();
