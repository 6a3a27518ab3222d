// Short notices at the edge of the page.

export interface Toast {
  id: number;
  text: string;
  tone: "good" | "bad";
}

const SHOWN_MS = 6000;
const SHOWN_MAX = 4;

class Toasts {
  list = $state<Toast[]>([]);
  #count = 0;

  show(text: string, tone: Toast["tone"] = "good"): void {
    const id = ++this.#count;
    this.list = [...this.list, { id, text, tone }].slice(-SHOWN_MAX);
    setTimeout(() => this.dismiss(id), SHOWN_MS);
  }

  dismiss(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();
