// Passwords that are made for people, to be read out, typed once, and changed.

export const PASSWORD_MIN = 10;

// Without what is mistaken for something else: 0 o, 1 l i.
const LETTERS = "abcdefghjkmnpqrstuvwxyz23456789";
const GROUPS = 4;
const GROUP_LENGTH = 4;

/** Four groups of four: 79 bits. */
export function makePassword(
  random: (bytes: Uint8Array<ArrayBuffer>) => void = crypto.getRandomValues.bind(crypto),
): string {
  const byte = new Uint8Array(1);
  const letter = (): string => {
    for (;;) {
      random(byte);
      // A plain remainder would prefer the first letters.
      const found = byte[0]! < 256 - (256 % LETTERS.length) ? LETTERS[byte[0]! % LETTERS.length] : undefined;
      if (found) return found;
    }
  };
  const group = (): string => Array.from({ length: GROUP_LENGTH }, letter).join("");
  return Array.from({ length: GROUPS }, group).join("-");
}
